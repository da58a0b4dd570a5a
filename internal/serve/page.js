// The page asks each model for its classes of one image, and shows what it says and how
// long it took. All text goes in as text, never as HTML.
"use strict";

const id = (name) => document.getElementById(name);

function element(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

async function call(path, options = {}) {
  const token = id("token").value;
  const headers = { ...(options.headers || {}), ...(token ? { Authorization: "Bearer " + token } : {}) };
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) id("secret").hidden = false;
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error || response.statusText);
  return answer;
}

function row(model) {
  const tr = element("tr");
  tr.dataset.model = model.name;
  tr.append(element("td", model.name));
  tr.append(element("td", model.top1 === null ? "not measured" : (100 * model.top1).toFixed(2)));
  tr.append(element("td", (model.parameters / 1e6).toFixed(3)));
  tr.append(element("td", model.latency_ms.toFixed(2)));
  tr.append(element("td", "", "answer"), element("td"), element("td"));
  return tr;
}

let models = [];

async function list() {
  try {
    const answer = await call("models");
    models = answer.models;
    id("models").replaceChildren(...models.map(row));
    id("order").textContent = "Ordered by " + answer.ordered_by + ".";
    id("status").textContent = "";
  } catch (error) {
    id("status").textContent = error.message;
  }
}

function show(tr, answer) {
  const classes = answer.results[0].classes.map((c) => {
    const line = element("div", undefined, "class");
    const bar = element("progress");
    bar.max = 1;
    bar.value = c.probability;
    bar.setAttribute("aria-hidden", "true");
    line.append(element("span", c.name), element("span", (100 * c.probability).toFixed(1) + " %"), bar);
    return line;
  });
  tr.cells[4].replaceChildren(...classes);
  tr.cells[5].textContent = answer.compute_ms.toFixed(2);
  tr.cells[6].textContent = answer.total_ms.toFixed(2);
}

let turn = 0; // a later image ends the asking of an earlier one

async function ask(file) {
  const mine = ++turn;
  id("shown").src = URL.createObjectURL(file);
  id("shown").alt = file.name;
  id("shown").hidden = false;
  await list();
  for (const tr of [...id("models").rows]) {
    if (mine !== turn) return;
    id("status").textContent = "Asking " + tr.dataset.model + " …";
    try {
      const path = "classify?top=3&model=" + encodeURIComponent(tr.dataset.model);
      show(tr, await call(path, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } }));
    } catch (error) {
      tr.cells[4].replaceChildren(element("span", error.message, "error"));
    }
  }
  if (mine === turn) id("status").textContent = "Done.";
}

id("file").addEventListener("change", (event) => {
  if (event.target.files.length) ask(event.target.files[0]);
});
for (const name of ["dragover", "dragenter"]) {
  id("drop").addEventListener(name, (event) => {
    event.preventDefault();
    id("drop").classList.add("over");
  });
}
id("drop").addEventListener("dragleave", () => id("drop").classList.remove("over"));
id("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  id("drop").classList.remove("over");
  if (event.dataTransfer.files.length) ask(event.dataTransfer.files[0]);
});
id("ask").addEventListener("submit", (event) => event.preventDefault());
id("token").addEventListener("change", list);
list();
