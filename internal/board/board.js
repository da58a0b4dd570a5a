// Keeps the page up to date: the server sends the sections that changed, as HTML that it made and
// escaped. What the reader has opened, checked or focused stays so.
"use strict";

const live = document.getElementById("live");

function put(parent, change) {
  let section = document.getElementById(change.id);
  if (!section) {
    section = document.createElement("section");
    section.id = change.id;
    section.append(document.createElement("h2"), document.createElement("div"));
  }
  section.querySelector("h2").textContent = change.title;
  if (change.html !== undefined) {
    const body = section.lastElementChild;
    const open = [...body.querySelectorAll("details[open] > summary")].map((s) => s.textContent);
    const checked = [...body.querySelectorAll("input:checked")].map((i) => i.value);
    const typed = [...body.querySelectorAll("input[type=search]")].map((i) => i.value);
    const focusable = "a, input, button, summary, [tabindex]";
    const focused = [...body.querySelectorAll(focusable)].indexOf(document.activeElement);
    body.innerHTML = change.html;
    for (const summary of body.querySelectorAll("details > summary"))
      if (open.includes(summary.textContent)) summary.parentElement.open = true;
    for (const input of body.querySelectorAll("input[type=checkbox]"))
      if (checked.includes(input.value)) input.checked = true;
    body.querySelectorAll("input[type=search]").forEach((input, i) => { input.value = typed[i]; });
    if (focused >= 0) body.querySelectorAll(focusable)[focused]?.focus({ preventScroll: true });
  }
  return section;
}

function show(change) {
  const main = document.getElementById("sections");
  const sections = change.sections.map((c) => put(main, c));
  for (const old of [...main.children]) if (!sections.includes(old)) old.remove();
  sections.forEach((section, i) => {
    if (main.children[i] !== section) main.insertBefore(section, main.children[i] || null);
  });
}

let source = null;
const events = new URL(document.body.dataset.events, location);

function listen() {
  if (source || document.hidden) return; // a browser keeps few connections to one server
  source = new EventSource(events);
  source.onopen = () => { live.textContent = "Live: what changes is shown as it is written."; };
  source.onerror = () => { live.textContent = "Not live: the server does not answer."; };
  source.onmessage = (event) => {
    events.searchParams.delete("version"); // the page is another now
    show(JSON.parse(event.data));
  };
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden && source) {
    source.close();
    source = null;
  }
  listen();
});
listen();
