// Conveniences only: every page works without this script.
"use strict";

// "/" moves the focus to the search box, unless something is being typed.
document.addEventListener("keydown", (event) => {
  const box = document.querySelector("input[type=search]");
  const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && box && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
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
      const response = await fetch(link.href);
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

// A bar of the histogram shows its year and number.
for (const bar of document.querySelectorAll("svg a[data-label]")) {
  const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
  title.textContent = bar.dataset.label;
  bar.prepend(title);
}

// A search of arXiv shows that it waits, then its result, or the error below the form.
const searchForm = document.querySelector("form.search[method=post]");
if (searchForm) {
  searchForm.addEventListener("submit", (event) => {
    if (searchForm.elements.mode.value === "arxiv") {
      event.preventDefault();
      searchArxiv(searchForm);
    }
  });
}

async function searchArxiv(form) {
  const progress = form.querySelector(".search-progress");
  const button = form.querySelector("button[type=submit]");
  const wait = form.dataset.wait;
  progress.textContent = wait ? `Waiting for arXiv, about ${wait} seconds` : "Waiting for arXiv";
  button.disabled = true;
  try {
    const body = new URLSearchParams(new FormData(form));
    const response = await fetch(form.action, { method: "POST", body });
    if (response.redirected) {
      location.assign(response.url);
      return;
    }
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const error = page.querySelector("#error, main p");
    progress.textContent = error ? error.textContent : `status ${response.status}`;
  } catch (error) {
    progress.textContent = `The search failed: ${error.message}`;
  }
  button.disabled = false;
}
