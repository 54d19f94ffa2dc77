"use strict";
(() => {
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  const times = document.getElementsByTagName("time");
  let next = 0;
  const some = () => {
    for (const end = Math.min(next + 500, times.length); next < end; next++) {
      const time = times[next];
      const date = new Date(time.dateTime);
      if (!Number.isNaN(date.getTime())) {
        time.title = time.textContent;
        time.textContent = (time.className ? clock : whole).format(date);
      }
    }
    if (next < times.length) setTimeout(some);
  };
  some();
  const button = document.getElementById("fold");
  let open = false;
  button.hidden = false;
  button.addEventListener("click", () => {
    open = !open;
    for (const details of document.querySelectorAll("details")) details.open = open;
    button.textContent = open ? "Fold everything" : "Unfold everything";
  });
})();
