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
