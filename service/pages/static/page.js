// Conveniences only: every page works without this script.
"use strict";

// "/" moves the focus to the search box.
document.addEventListener("keydown", (event) => {
  const box = document.querySelector("input[type=search]");
  if (event.key === "/" && box && isShortcut(event)) {
    event.preventDefault();
    box.focus();
    box.select();
  }
});

// Links to a citation become buttons that copy it.
if (navigator.clipboard) {
  for (const link of document.querySelectorAll("a[data-copy]")) {
    link.replaceWith(createCopyButton(link));
  }
}

function createCopyButton(link) {
  const button = document.createElement("button");
  button.type = "button";
  button.append("Copy ", ...link.childNodes);
  const status = document.createElement("span");
  status.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    try {
      // like a page: otherwise the browser asks for a password if the session has ended
      const headers = { Accept: "text/html,application/xhtml+xml" };
      const response = await fetch(link.href, { headers });
      if (response.status === 401) throw new Error("sign in");
      if (!response.ok) throw new Error(`status ${response.status}`);
      await navigator.clipboard.writeText(await response.text());
      status.textContent = ` ${link.dataset.copy} copied`;
    } catch (error) {
      status.textContent = ` not copied: ${error.message}`;
    }
  });
  const group = document.createElement("span");
  group.append(button, status);
  return group;
}

// A search of arXiv shows that it waits, until the browser has the page with the result.
const searchForm = document.querySelector("form.search[method=post]");
if (searchForm) {
  const progress = searchForm.querySelector(".search-progress");
  const button = searchForm.querySelector("button[type=submit]");
  searchForm.addEventListener("submit", () => {
    if (searchForm.elements.mode.value !== "arxiv") return;
    const wait = searchForm.dataset.wait;
    progress.textContent = wait ? `Waiting for arXiv, about ${wait} seconds` : "Waiting for arXiv";
    button.disabled = true;
  });
  // the browser shows the same document again after "back"
  addEventListener("pageshow", () => {
    progress.textContent = "";
    button.disabled = false;
  });
}

// Whether a key is one of the shortcuts, which do nothing while text is typed.
function isShortcut(event) {
  const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
  return !isTyping && !hasModifier && loadSetting("shortcuts") !== "off";
}

// Users can set browsers to store nothing.
function loadSetting(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function saveSetting(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // what is not stored is valid for this page only
  }
}

// A form remembers the values of a field that were sent with it and are valid, also if all are
// empty. They are added to addresses without the field, except to those of other pages of a list,
// which belong to the values with which the list began.
for (const form of document.querySelectorAll("form[data-remember]")) {
  const name = form.dataset.remember;
  const key = `${form.getAttribute("action")} ${name}`;
  const keyOfSent = `${key} sent`;
  form.addEventListener("submit", () => {
    saveSetting(keyOfSent, `?${new URLSearchParams(new FormData(form))}`);
  });
  const parameters = new URLSearchParams(location.search);
  // the page of a link from elsewhere does not change what is remembered
  if (loadSetting(keyOfSent) === location.search && !document.querySelector("#error")) {
    const values = parameters.getAll(name).filter((value) => value.trim());
    saveSetting(key, new URLSearchParams(values.map((value) => [name, value])).toString());
  }
  const remembered = loadSetting(key);
  if (remembered && !parameters.has(name) && !parameters.has("after")) {
    for (const pair of new URLSearchParams(remembered)) parameters.append(...pair);
    location.replace(`${location.pathname}?${parameters}`);
  }
}

// Shortcuts of one character can be switched off, as WCAG 2.1.4 requires.
document.querySelector("footer").prepend(createShortcutSwitch());

function createShortcutSwitch() {
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = loadSetting("shortcuts") !== "off";
  box.addEventListener("change", () => saveSetting("shortcuts", box.checked ? "on" : "off"));
  const label = document.createElement("label");
  label.append(box, " Keyboard shortcuts: / search; on New: j next, k previous, o open");
  const paragraph = document.createElement("p");
  paragraph.className = "shortcuts";
  paragraph.append(label);
  return paragraph;
}

// Lists of new papers: marks for papers that were read, and shortcuts to move between them.
const READ_PAPERS = "read";
const MAX_READ = 5000;
const list = document.querySelector("[data-reading]");
if (list) {
  const papers = [...list.querySelectorAll(".paper")];
  const known = new Set(loadReadPapers());
  const setRead = (paper, isRead) => {
    const marks = new Set(loadReadPapers());
    marks.delete(paper.dataset.paper);
    if (isRead) marks.add(paper.dataset.paper);
    saveSetting(READ_PAPERS, JSON.stringify([...marks].slice(-MAX_READ)));
    showMark(paper, isRead);
  };
  for (const paper of papers) {
    paper.querySelector(".paper-links").append(createMarkButton(paper, setRead));
    showMark(paper, known.has(paper.dataset.paper));
    for (const type of ["click", "auxclick"]) {
      paper.querySelector(".paper-title a").addEventListener(type, () => setRead(paper, true));
    }
  }
  document.addEventListener("keydown", (event) => moveByKey(event, papers));
  if (papers.length) list.before(createMarkAllButton(papers, setRead));
}

function loadReadPapers() {
  try {
    const marks = JSON.parse(loadSetting(READ_PAPERS));
    return Array.isArray(marks) ? marks : [];
  } catch {
    return [];
  }
}

function createMarkButton(paper, setRead) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "read-button";
  button.addEventListener("click", () => setRead(paper, !paper.classList.contains("is-read")));
  item.append(button);
  return item;
}

function showMark(paper, isRead) {
  paper.classList.toggle("is-read", isRead);
  paper.querySelector(".read-mark")?.remove();
  if (isRead) {
    const mark = document.createElement("span");
    mark.className = "read-mark";
    mark.textContent = "✓ Read";
    paper.querySelector(".paper-title").append(" ", mark);
  }
  const name = document.createElement("span");
  name.className = "visually-hidden";
  name.textContent = `: ${paper.dataset.paper}`;
  paper.querySelector(".read-button").replaceChildren(
    isRead ? "Mark as unread" : "Mark as read",
    name,
  );
}

function moveByKey(event, papers) {
  if (!isShortcut(event)) return;
  const step = { j: 1, k: -1, o: 0 }[event.key];
  if (step === undefined) return;
  const current = papers.findIndex((paper) => paper.contains(document.activeElement));
  // before the first paper, only j leads somewhere: to the first one
  const link = papers[current + step]?.querySelector(".paper-title a");
  if (step === 0) link?.click();
  else link?.focus();
}

function createMarkAllButton(papers, setRead) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Mark all on this page as read";
  button.addEventListener("click", () => {
    for (const paper of papers) setRead(paper, true);
  });
  const paragraph = document.createElement("p");
  paragraph.append(button);
  return paragraph;
}
