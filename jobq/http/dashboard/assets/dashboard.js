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
    for (const time of $$("time", within)) {
      const there = new Date(time.dateTime);
      time.title = `${there.toLocaleString()} (${time.title})`;
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
      if (!fresh || isBusy(region) || fresh.innerHTML === region.original) continue;
      const ticked = $$("input:checked", region).map((box) => box.value);
      const open = $$("details[id][open]", region).map((one) => one.id);
      const focused = region.contains(document.activeElement) ? path(document.activeElement) : null;
      region.original = fresh.innerHTML;
      region.innerHTML = fresh.innerHTML;
      for (const box of $$("input[type=checkbox][name]", region)) box.checked = ticked.includes(box.value);
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      if (focused) $(focused, region)?.focus();
      dress(region);
    }
  }

  const path = (element) => {
    const name = element.getAttribute("href") ? `[href="${CSS.escape(element.getAttribute("href"))}"]`
      : element.value ? `[value="${CSS.escape(element.value)}"]` : "";
    return element.tagName.toLowerCase() + name;
  };

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

  for (const region of $$("[data-live]")) region.original = region.innerHTML;
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
