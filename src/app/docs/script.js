
"use strict";
// Conveniences only: a filter, opening what the address names, and opening everything at once.
const all = (selector) => Array.from(document.querySelectorAll(selector));
const open = () => {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
};
addEventListener("hashchange", open);
open();
const filter = document.getElementById("filter");
if (filter) {
  filter.hidden = false;
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = (element) => words.every((word) => element.dataset.text.includes(word));
    for (const element of all("[data-text]")) {
      element.hidden = !shown(element);
    }
    for (const group of all("[data-group]")) {
      group.hidden = !group.querySelector("[data-text]:not([hidden])");
      if (group.tagName === "DETAILS" && words.length > 0) {
        group.open = true;
      }
    }
  });
}
const everything = document.getElementById("everything");
if (everything) {
  everything.hidden = false;
  everything.addEventListener("click", () => {
    const operations = all("details.op");
    const opening = operations.some((operation) => !operation.open);
    for (const operation of operations) {
      operation.open = opening;
    }
    everything.textContent = opening ? "Close all" : "Open all";
  });
}
