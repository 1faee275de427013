/* What is better with a script: pages that stay current, times that run on, keys, copying. */
(() => {
  "use strict";
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const stored = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const store = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private */ } };

  // --- times -------------------------------------------------------------------------------------

  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  // The page's own clock decides; the server's may differ from it.
  const behind = () => Number(document.body.dataset.behind || 0);

  function ago(moment) {
    const seconds = (Date.now() - behind() - moment) / 1000;
    if (Math.abs(seconds) < 1) return "now";
    const [size, unit] = units.find(([least]) => Math.abs(seconds) >= least);
    const words = `${Math.floor(Math.abs(seconds) / size)} ${unit}`;
    return seconds > 0 ? `${words} ago` : `in ${words}`;
  }

  function tick() {
    for (const time of $$("time[data-ago]")) {
      const words = ago(Date.parse(time.dateTime));
      if (time.textContent !== words) time.textContent = words;
    }
  }

  function localise(within) {
    for (const time of $$("time:not([data-exact])", within)) {
      time.dataset.exact = time.title;
      time.title = `${new Date(time.dateTime).toLocaleString()} (${time.title})`;
    }
  }

  // --- staying current ---------------------------------------------------------------------------

  const every = Number(document.body.dataset.refresh) * 1000;
  const button = $("#live-button");
  const isBusy = (region) =>
    $("details.edit[open]", region) || (region.contains(document.activeElement) && $(":focus:is(input:not([type=checkbox]), select)", region));
  let live = stored("jobq-live") !== "off";

  function renew(page) {
    for (const region of $$("[data-live]")) {
      const fresh = page.getElementById(region.id);
      if (fresh && !isBusy(region)) morph(region, fresh);
    }
    dress(document);
  }

  // Elements stay what they are where they can, so that focus, ticks and what is open stay too.
  function morph(old, fresh) {
    const mine = new Map([...old.children].filter(keyOf).map((child) => [keyOf(child), child]));
    let place = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const match = keyOf(wanted) ? mine.get(keyOf(wanted)) : alike(place, wanted) ? place : null;
      if (!match) {
        old.insertBefore(document.importNode(wanted, true), place);
      } else {
        if (match === place) place = place.nextSibling;
        else old.insertBefore(match, place);
        patch(match, wanted);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  const keyOf = (node) => node.dataset?.id;
  const alike = (one, other) => one && one.nodeName === other.nodeName && !keyOf(one) && one.id === other.id;

  function patch(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    const own = old.matches("time") ? ["title"] : old.matches("details") ? ["open"] : ["hidden", "disabled"];
    for (const { name } of [...old.attributes]) {
      if (!own.includes(name) && name !== "data-exact" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (!own.includes(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    if (old.matches("time") && old.dataset.exact !== fresh.title) {
      old.title = fresh.title;
      delete old.dataset.exact;
    }
    if (!old.matches("time[data-ago], [data-chosen], .copy")) morph(old, fresh);
  }

  async function refresh() {
    if (!live || document.hidden || $("dialog[open]")) return;
    try {
      const answer = await fetch(location.href, { headers: { "x-jobq-live": "1" }, cache: "no-store" });
      button.parentElement.classList.toggle("late", !answer.ok);
      if (answer.redirected || answer.status === 401 || answer.status === 403) return location.reload();
      if (!answer.ok) return;
      const now = Date.parse(answer.headers.get("date"));
      if (now && Math.abs(Date.now() - now) > 5000) document.body.dataset.behind = Date.now() - now;
      renew(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      button.parentElement.classList.add("late");
    }
  }

  function showLive() {
    button.setAttribute("aria-pressed", String(live));
    button.lastElementChild.textContent = live ? "Live" : "Paused";
    button.title = live ? "This page stays current; stop that" : "Let this page stay current";
  }

  // --- selecting and copying ---------------------------------------------------------------------

  function dress(within) {
    localise(within);
    for (const one of $$("[data-copy], [data-copy-from]", within)) one.hidden = !navigator.clipboard;
    const all = $("[data-all]", within);
    if (all) all.hidden = false;
    count();
    tick();
  }

  function count() {
    const form = $("[data-selection]");
    if (!form) return;
    const boxes = $$("tbody input[type=checkbox]", form);
    const chosen = boxes.filter((box) => box.checked).length;
    const told = $("[data-chosen]", form);
    if (told) told.textContent = chosen ? `${chosen} selected:` : "Nothing selected";
    for (const one of $$("[data-bulk]", form)) one.disabled = !chosen;
    const all = $("[data-all] input", form);
    if (all) {
      all.checked = chosen > 0 && chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    }
  }

  document.addEventListener("change", (event) => {
    if (event.target.closest("[data-all]")) {
      for (const box of $$("[data-selection] tbody input[type=checkbox]")) box.checked = event.target.checked;
    }
    count();
  });

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy], [data-copy-from]");
    if (!copy) return;
    const text = copy.dataset.copy ?? document.getElementById(copy.dataset.copyFrom).textContent;
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });

  // --- keys --------------------------------------------------------------------------------------

  const dialog = $("#keys");
  const keysOn = $("#keys-on");
  let going = false;

  function step(by) {
    const rows = $$("[data-row]");
    const here = rows.indexOf(document.activeElement?.closest("tr, li")?.querySelector("[data-row]"));
    rows[Math.max(0, Math.min(rows.length - 1, here + by))]?.focus();
  }

  const keys = {
    "/": () => { const field = $("[data-search]"); field ? field.focus() : location.assign($('[data-key="j"]').href); },
    "?": () => dialog.showModal(),
    n: () => step(1),
    p: () => step(-1),
    x: () => document.activeElement?.closest("tr")?.querySelector("input[type=checkbox]")?.click(),
    g: () => { going = true; setTimeout(() => { going = false; }, 1500); },
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || (!keysOn.checked && event.key !== "?")) return;
    if (going) {
      const page = $(`[data-key="${CSS.escape(event.key)}"]`);
      going = false;
      if (page) return location.assign(page.href);
    }
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });

  keysOn.checked = stored("jobq-keys") !== "off";
  keysOn.addEventListener("change", () => store("jobq-keys", keysOn.checked ? "on" : "off"));

  // --- begin -------------------------------------------------------------------------------------

  dress(document);
  $("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  setInterval(tick, 1000);
  if (every && $("[data-live]")) {
    button.parentElement.hidden = false;
    button.addEventListener("click", () => {
      live = !live;
      store("jobq-live", live ? "on" : "off");
      showLive();
      refresh();
    });
    showLive();
    setInterval(refresh, every);
  }
})();
