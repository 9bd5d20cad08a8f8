// What only the browser can do: its time zone, its theme, its keyboard. Everything else happens on the server.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
  const paint = () => {
    root.dataset.theme = theme();
    if (document.readyState !== "loading") setDark(theme() === "dark");
  };
  paint();
  dark.addEventListener("change", paint);
  document.addEventListener("DOMContentLoaded", paint);

  // Times: the server sends an instant, the reader sees it in their own zone.
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const span = (seconds) => {
    const first = UNITS.findIndex(([, size]) => seconds >= size);
    if (first < 0) return "0 s";
    const [unit, size] = UNITS[first];
    const whole = Math.floor(seconds / size);
    const next = UNITS[first + 1];
    const rest = next ? Math.floor((seconds - whole * size) / next[1]) : 0;
    return `${whole} ${unit}${rest && whole < 10 ? ` ${rest} ${next[0]}` : ""}`;
  };
  const ticking = new Set();
  customElements.define("local-time", class extends HTMLElement {
    static observedAttributes = ["datetime", "seconds", "form"];
    connectedCallback() { ticking.add(this); this.read(); }
    disconnectedCallback() { ticking.delete(this); }
    attributeChangedCallback() { if (this.isConnected) this.read(); }
    read() {
      this.until = performance.now() + 1000 * Number(this.getAttribute("seconds") ?? 0);
      this.at = new Date(this.getAttribute("datetime"));
      this.firstElementChild ?? this.append(document.createElement("time"));
      this.show();
    }
    show() {
      const time = this.firstElementChild, form = this.getAttribute("form");
      let text;
      if (form === "left") text = span(Math.max(Math.ceil((this.until - performance.now()) / 1000), 0));
      else {
        time.dateTime = this.at.toISOString();
        time.title = full.format(this.at);
        const ago = Math.max((Date.now() - this.at) / 1000, 0);
        const today = this.at.toDateString() === new Date().toDateString();
        text = form === "ago" ? (ago < 1 ? "now" : `${span(ago)} ago`) : (today ? clock : day).format(this.at);
      }
      if (time.textContent !== text) time.textContent = text;
    }
  });
  setInterval(() => ticking.forEach((one) => one.show()), 1000);

  // Picking rows of a table. The server is told when something is done with them.
  const picks = () => [...document.querySelectorAll("input.pick")];
  const picked = () => picks().filter((box) => box.checked).map((box) => box.value);
  const count = () => {
    const number = picked().length;
    document.querySelectorAll("[data-picked]").forEach((one) => { one.hidden = !number; });
    document.querySelectorAll("[data-picked-count]").forEach((one) => { one.textContent = `${number} selected`; });
    const all = document.querySelector("input.pick-all");
    if (all) { all.checked = number > 0 && number === picks().length; all.indeterminate = number > 0 && !all.checked; }
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("input.pick-all")) picks().forEach((box) => { box.checked = event.target.checked; });
    if (event.target.matches("input.pick, input.pick-all")) count();
  });

  // A filter form leaves what is empty out of the address, and writes times in UTC there: a link means the same to all.
  const instant = (text) => {
    const parts = /^\s*(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?))?\s*$/.exec(text);
    const at = parts && new Date(`${parts[1]}T${parts[2] ?? "00:00"}`);
    return at && !isNaN(at) ? at.toISOString().replace(".000", "") : text;
  };
  const local = (text) => {
    const at = new Date(text);
    if (!text.endsWith("Z") || isNaN(at)) return text;
    return new Date(at - 60000 * at.getTimezoneOffset()).toISOString().slice(0, at.getSeconds() ? 19 : 16).replace("T", " ");
  };
  document.addEventListener("formdata", ({ target, formData }) => {
    if (target.method !== "get") return;
    for (const [name, value] of [...formData]) {
      if (!value) formData.delete(name);
      else if (target.elements[name]?.dataset?.time) formData.set(name, instant(value));
    }
  });
  const phone = matchMedia("(max-width: 640px)");
  customElements.define("filter-fold", class extends HTMLElement {
    connectedCallback() {
      this.querySelectorAll("[data-time]").forEach((field) => { field.value = local(field.value); });
      this.fold();
      phone.addEventListener("change", this.fold);
    }
    disconnectedCallback() { phone.removeEventListener("change", this.fold); }
    fold = () => { this.firstElementChild.open = !phone.matches; };
  });

  const turn = () => { localStorage.setItem("theme", theme() === "dark" ? "light" : "dark"); paint(); };
  const keys = () => document.querySelector("dialog.keys")?.showModal();
  const step = (by) => {
    const links = [...document.querySelectorAll("tr[data-row] a.row")];
    const at = links.indexOf(document.activeElement?.closest("tr[data-row]")?.querySelector("a.row"));
    links[Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
  };
  const pick = () => {
    const box = document.activeElement?.closest("tr[data-row]")?.querySelector("input.pick");
    if (box) { box.checked = !box.checked; count(); }
  };
  const KEYS = {
    "/": () => document.querySelector("input[type=search]")?.focus(),
    "?": keys, t: turn, j: () => step(1), k: () => step(-1), x: pick,
  };
  let going = 0;
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable], [role=dialog]");
    if (event.key === "Escape" && event.target.matches("input[type=search]")) event.target.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = Date.now() - going < 1500 && document.querySelector(`.places a[data-key="${CSS.escape(event.key)}"]`);
    going = event.key === "g" ? Date.now() : 0;
    if (place) place.click();
    else if (KEYS[event.key]) { event.preventDefault(); KEYS[event.key](); }
  });
  Object.assign(window, { consolePicked: picked, consoleCount: count, consoleTheme: turn, consoleKeys: keys });
})();
