// Shows the price while the quantity changes. Without this file the button does the same.
"use strict";

const form = document.getElementById("price-form");
let latest = 0;

async function update() {
  if (!form.checkValidity()) return;
  const mine = ++latest;
  const url = form.action + "?" + new URLSearchParams(new FormData(form));
  try {
    const response = await fetch(url);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.getElementById("quote");
    // A slow answer to an earlier quantity must not overwrite a later one.
    if (response.ok && fresh && mine === latest) {
      document.getElementById("quote").replaceChildren(...fresh.children);
    }
  } catch {
    // Offline: the old price stays, the button still works.
  }
}

form.addEventListener("input", update);
