-- W1, W2 and W3 in Lua: plain values and a table of headers in, values out. Runs in LuaJIT.
local bit = require("bit")
local bxor, lshift, rshift, tobit = bit.bxor, bit.lshift, bit.rshift, bit.tobit

local function redeem(body)
  local key = '"coupon":"'
  local _, at = string.find(body, key, 1, true)
  if not at then return body end
  local stop = string.find(body, '"', at + 1, true)
  return string.sub(body, 1, at) .. "REDEEMED" .. string.sub(body, stop)
end

-- Returns the new body (nil: leave it) and then names and values of headers to set.
local function on_request(method, path, query, headers, body)
  local language = string.sub(headers["accept-language"] or "", 1, 2)
  return body and redeem(body), "x-lang", language
end

local function hash(rounds)
  local h = tobit(2463534242)
  for i = 0, rounds - 1 do
    h = bxor(h, lshift(h, 13))
    h = bxor(h, rshift(h, 17))
    h = bxor(h, lshift(h, 5))
    h = tobit(h + i)
  end
  return h
end

return { on_request = on_request, hash = hash, nothing = function() end }
