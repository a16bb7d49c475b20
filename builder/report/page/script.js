"use strict";
(() => {
  const input = document.getElementById("q");
  const hits = document.getElementById("hits");
  const none = document.getElementById("none");
  const steps = [...document.querySelectorAll(".step")].map((el) => ({ el, text: el.textContent.toLowerCase(), details: el.querySelector("details"), was: false }));
  const builds = [...document.querySelectorAll(".build")].map((el) => ({ el, all: el.querySelector(".all"), was: false }));
  const canMark = "highlights" in CSS;

  // ranges finds the places of a word in what is open, at most 500.
  const ranges = (el, word, out) => {
    const walk = document.createTreeWalker(el, NodeFilter.SHOW_TEXT);
    for (let n = walk.nextNode(); n && out.length < 500; n = walk.nextNode()) {
      const text = n.data.toLowerCase();
      for (let i = text.indexOf(word); i >= 0 && out.length < 500; i = text.indexOf(word, i + word.length)) {
        const r = new Range();
        r.setStart(n, i);
        r.setEnd(n, i + word.length);
        out.push(r);
      }
    }
  };

  let searching = false;
  const search = () => {
    const word = input.value.trim().toLowerCase();
    if (word && !searching) for (const s of steps) s.was = !!(s.details && s.details.open);
    const found = [];
    let shown = 0;
    for (const s of steps) {
      const match = !word || s.text.includes(word);
      s.el.hidden = !match;
      if (match) shown++;
      if (s.details) s.details.open = word ? match && s.details.textContent.toLowerCase().includes(word) : searching ? s.was : s.details.open;
      if (word && match) ranges(s.el, word, found);
    }
    for (const b of builds) {
      b.el.hidden = !!word && !b.el.querySelector(".step:not([hidden])");
      if (word && !searching) b.was = b.all.open;
      if (word || searching) b.all.open = word ? true : b.was;
    }
    none.hidden = !word || shown > 0;
    hits.textContent = word ? shown + (shown === 1 ? " step" : " steps") : "";
    if (canMark) {
      if (found.length) CSS.highlights.set("found", new Highlight(...found));
      else CSS.highlights.delete("found");
    }
    searching = !!word;
  };
  let timer;
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 120); });

  // A link to a step opens it.
  const open = () => {
    const el = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!el) return;
    const all = el.closest(".all") || el.querySelector(".all");
    if (all) all.open = true;
    const details = el.querySelector(":scope > details:not(.layers)");
    if (details) details.open = true;
    el.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();

  // What went wrong stands at the end of a log.
  for (const el of document.querySelectorAll(".failure .lines")) el.scrollTop = el.scrollHeight;

  for (const el of document.querySelectorAll(".copy")) {
    el.title = "Click to copy";
    el.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(el.textContent); } catch { return; }
      el.classList.add("copied");
      setTimeout(() => el.classList.remove("copied"), 1500);
    });
  }
})();
