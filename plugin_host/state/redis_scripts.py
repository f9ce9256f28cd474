"""What the operations do in Redis: scripts, since nothing else there decides and writes at once.

A namespace is four keys of Redis with one hash tag, so a cluster keeps them on one node:

* ``values``, a hash: keys and values;
* ``order``, a sorted set of all keys with score 0, which Redis sorts by their bytes;
* ``expiry``, a sorted set of the keys that expire, by when (milliseconds);
* ``size``, the bytes of all keys and values.

Keys that have expired are in them until they are swept. A Lua number is a double, so an i64 is
added by ``HINCRBY`` and compared as text. Scripts look before they write: Redis rolls nothing back.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from typing import Final

_PRELUDE: Final = r"""
local values, order, expiry, size = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local call, now = redis.call, tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local max_keys, max_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])

local function digits(number) return string.format('%.0f', number) end

local function dead(key)
  local due = call('ZSCORE', expiry, key)
  return due and tonumber(due) <= now
end

local function alive(key)
  local value = call('HGET', values, key)
  if value and dead(key) then return false end
  return value
end

local function drop(key)
  call('DECRBY', size, #key + call('HSTRLEN', values, key))
  call('HDEL', values, key)
  call('ZREM', order, key)
  call('ZREM', expiry, key)
end

local function sweep(most)
  local found = call('ZRANGEBYSCORE', expiry, '-inf', digits(now), 'LIMIT', 0, most)
  for _, key in ipairs(found) do drop(key) end
  return #found
end

local function lack(keys, lengths)
  while true do
    local new, grown = 0, 0
    for i, key in ipairs(keys) do
      if call('ZSCORE', order, key) then
        grown = grown + lengths[i] - call('HSTRLEN', values, key)
      else
        new, grown = new + 1, grown + #key + lengths[i]
      end
    end
    local problem
    if new > 0 and call('ZCARD', order) + new > max_keys then
      problem = 'quota_keys'
    elseif grown > 0 and tonumber(call('GET', size) or 0) + grown > max_bytes then
      problem = 'quota_bytes'
    end
    if not problem or sweep(500) == 0 then return problem end
  end
end

local function put(key, value, ttl)
  local old = 0
  if call('ZADD', order, 0, key) == 0 then old = #key + call('HSTRLEN', values, key) end
  call('INCRBY', size, #key + #value - old)
  call('HSET', values, key, value)
  if ttl == '' then
    call('ZREM', expiry, key)
  elseif ttl ~= 'keep' then
    call('ZADD', expiry, digits(now + tonumber(ttl)), key)
  end
end

local function count(low, high)
  local found = call('ZLEXCOUNT', order, '[' .. low, '(' .. high)
  if sweep(500) == 500 then
    found = call('ZLEXCOUNT', order, '[' .. low, '(' .. high)
    for _, key in ipairs(call('ZRANGEBYSCORE', expiry, '-inf', digits(now))) do
      if key:sub(1, #low) == low then found = found - 1 end
    end
    return found
  end
  return call('ZLEXCOUNT', order, '[' .. low, '(' .. high)
end
"""

_READ: Final = """
local found = {}
for i = 4, #ARGV do found[i - 3] = alive(ARGV[i]) end
return found
"""

_WRITE: Final = """
sweep(100)
local keys, lengths = {}, {}
for i = 5, #ARGV, 2 do
  table.insert(keys, ARGV[i])
  table.insert(lengths, #ARGV[i + 1])
end
local problem = lack(keys, lengths)
if problem then return {problem} end
for i = 5, #ARGV, 2 do put(ARGV[i], ARGV[i + 1], ARGV[4]) end
return {'done'}
"""

_REMOVE: Final = """
local gone = 0
for i = 4, #ARGV do
  if alive(ARGV[i]) then
    drop(ARGV[i])
    gone = gone + 1
  end
end
return gone
"""

_SWAP: Final = """
local key, ttl, has_old, old, has_new, new = unpack(ARGV, 4)
local current = alive(key)
if current ~= (has_old == '1' and old) then return {'other', current} end
if has_new == '1' then
  sweep(100)
  local problem = lack({key}, {#new})
  if problem then return {problem} end
  put(key, new, ttl)
elseif current then
  drop(key)
end
return {'done'}
"""

_ADD_INTEGER: Final = """
local key, ttl, delta, floor, ceiling = unpack(ARGV, 4)

local function below(a, b)
  local minus = a:sub(1, 1) == '-'
  if minus ~= (b:sub(1, 1) == '-') then return minus end
  if minus then a, b = b, a end
  if #a ~= #b then return #a < #b end
  return a < b
end

if dead(key) then drop(key) end
local old = call('HGET', values, key)
local failed = redis.pcall('HINCRBY', values, key, delta)
local sum
if type(failed) == 'table' and failed.err then
  if not failed.err:find('overflow') then return {'not_a_number'} end
else
  sum = call('HGET', values, key)
  if old then call('HSET', values, key, old) else call('HDEL', values, key) end
end
local up = delta:sub(1, 1) ~= '-'
if (floor ~= '' and (sum and below(sum, floor) or not sum and not up))
  or (ceiling ~= '' and (sum and below(ceiling, sum) or not sum and up)) then
  return {'refused', old or '0'}
end
if not sum then return {'overflow'} end
local problem = lack({key}, {#sum})
if problem then return {problem} end
put(key, sum, old and 'keep' or ttl)
return {'done', sum}
"""

_ADD_FLOAT: Final = """
local key, ttl, delta, floor, ceiling = unpack(ARGV, 4)

local function finite(number)
  return number and number == number and math.abs(number) ~= math.huge
end

if dead(key) then drop(key) end
local old = call('HGET', values, key)
local number = 0
if old then
  number = old:find('^%-?%d[%d.eE+-]*$') and tonumber(old)
  if not finite(number) then return {'not_a_number'} end
end
local sum = number + tonumber(delta)
if (floor ~= '' and sum < tonumber(floor)) or (ceiling ~= '' and sum > tonumber(ceiling)) then
  return {'refused', old or '0'}
end
if not finite(sum) then return {'overflow'} end
local text
for _, format in ipairs({'%.15g', '%.16g', '%.17g'}) do
  text = string.format(format, sum + 0)
  if tonumber(text) == sum then break end
end
local problem = lack({key}, {#text})
if problem then return {problem} end
put(key, text, old and 'keep' or ttl)
return {'done', text}
"""

_ADMIT: Final = """
local low, high, limit, key, value, ttl = unpack(ARGV, 4)
local current = alive(key)
if current then return {'present', current} end
if count(low, high) >= tonumber(limit) then return {'full'} end
local problem = lack({key}, {#value})
if problem then return {problem} end
put(key, value, ttl)
return {'added'}
"""

_COUNT: Final = "return count(ARGV[4], ARGV[5])"

_SCAN: Final = """
local start, high, limit = unpack(ARGV, 4)
local found, low = {}, '[' .. start
limit = tonumber(limit)
while #found < 3 * limit do
  local keys = call('ZRANGEBYLEX', order, low, '(' .. high, 'LIMIT', 0, limit)
  for _, key in ipairs(keys) do
    local due = call('ZSCORE', expiry, key)
    local left = due and tonumber(due) - now
    if (not left or left > 0) and #found < 3 * limit then
      table.insert(found, key)
      table.insert(found, call('HSTRLEN', values, key))
      table.insert(found, left and digits(left) or '')
    end
  end
  if #keys < limit then break end
  low = '(' .. keys[#keys]
end
return found
"""

_SWEEP: Final = "return sweep(500)"


@dataclass(frozen=True, slots=True)
class Script:
    """One operation: its text, and the digest by which Redis knows it."""

    text: str
    digest: str


def _script(body: str) -> Script:
    text = _PRELUDE + body
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


READ: Final = _script(_READ)
WRITE: Final = _script(_WRITE)
REMOVE: Final = _script(_REMOVE)
SWAP: Final = _script(_SWAP)
ADD_INTEGER: Final = _script(_ADD_INTEGER)
ADD_FLOAT: Final = _script(_ADD_FLOAT)
ADMIT: Final = _script(_ADMIT)
COUNT: Final = _script(_COUNT)
SCAN: Final = _script(_SCAN)
SWEEP: Final = _script(_SWEEP)
