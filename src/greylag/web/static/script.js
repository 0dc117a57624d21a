"use strict";
// Times in the zone of who looks, countdowns, and a page that refreshes itself while it is seen.
// Every page is whole without this.
(() => {
  const EVERY = 30; // seconds
  const pad = (number) => String(number).padStart(2, "0");

  function local(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
      const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
      if (time.closest("[data-days]") !== null) continue; // days of UTC, as they were counted
      if (time.closest(".below") !== null) { // of a chart: there is little room
        time.textContent = clock === "00:00" ? day.slice(5) : clock;
        continue;
      }
      time.textContent = `${day} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
    }
  }

  function count() {
    const now = Date.now();
    for (const place of document.querySelectorAll("[data-until]")) {
      const left = Math.ceil(Number(place.dataset.until) - now / 1000);
      const hours = Math.floor(left / 3600);
      const minutes = Math.floor(left / 60) % 60;
      place.textContent = left <= 0 ? "now"
        : hours > 0 ? `in ${hours} h ${pad(minutes)} min`
        : minutes > 0 ? `in ${minutes} min ${pad(left % 60)} s` : `in ${left} s`;
    }
  }

  function busy() {
    const on = document.activeElement;
    return on !== null && on.closest("[data-live]") !== null && on !== document.body;
  }

  let left = EVERY;
  async function refresh() {
    const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const there = document.querySelectorAll("[data-live]");
    const fresh = page.querySelectorAll("[data-live]");
    if (there.length !== fresh.length) return;
    there.forEach((old, number) => old.replaceWith(document.adoptNode(fresh[number])));
    const made = page.getElementById("made");
    if (made !== null) document.getElementById("made").replaceWith(document.adoptNode(made));
    local(document);
    count();
  }

  let soon = 2; // seconds until a page is loaded again that is being counted
  function tick() {
    count();
    if (document.querySelector("[data-soon]") !== null && !document.hidden && --soon <= 0) {
      location.reload();
      return;
    }
    const told = document.getElementById("refresh");
    if (document.querySelector("[data-live]") === null || told === null) return;
    if (document.hidden || busy()) return;
    left -= 1;
    told.textContent = left > 0 ? `· loads again in ${left} s` : "· loading";
    if (left > 0) return;
    left = EVERY;
    refresh().catch(() => { told.textContent = "· could not be loaded anew"; });
  }

  const zone = document.getElementById("zone");
  if (zone !== null) zone.textContent = `times in ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
  local(document);
  tick();
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) left = Math.min(left, 2); });
})();
