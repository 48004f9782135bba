// Small kindnesses for forms: no double sending, and coins said in hours as you type.

const MINUTES_PER_COIN = 60;

// disableOnSubmit stops a second press from sending twice. The server also recognises the repeat by its id,
// so this is only to be calm on the screen. A page brought back by the Back button is made usable again.
function disableOnSubmit() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.dataset.sending === "yes") {
      event.preventDefault();
      return;
    }
    form.dataset.sending = "yes";
    const button = event.submitter;
    // After the browser has gathered the form, so that the pressed button's own value is sent.
    setTimeout(() => {
      if (button) {
        button.disabled = true;
      }
    }, 0);
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sending]")) {
      delete form.dataset.sending;
      for (const button of form.querySelectorAll("button")) {
        button.disabled = false;
      }
    }
  });
}

function plural(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

// minutesOf reads "1.75", "1,75" and "1:45"; 0 for what is not whole minutes: the server says what is wrong.
function minutesOf(text) {
  const clock = text.match(/^(\d+):([0-5]\d)$/);
  if (clock) {
    return Number(clock[1]) * MINUTES_PER_COIN + Number(clock[2]);
  }
  const minutes = /^\d*([.,]\d+)?$/.test(text) ? Number(text.replace(",", ".")) * MINUTES_PER_COIN : 0;
  return Math.abs(minutes - Math.round(minutes)) < 1e-6 ? Math.round(minutes) : 0;
}

// coinsInWords turns "1.75" into "1 hour and 45 minutes", and what is not an amount into an empty string.
export function coinsInWords(text) {
  const totalMinutes = minutesOf(text.trim());
  const hours = Math.floor(totalMinutes / MINUTES_PER_COIN);
  const minutes = totalMinutes % MINUTES_PER_COIN;
  const parts = [];
  if (hours > 0) {
    parts.push(plural(hours, "hour", "hours"));
  }
  if (minutes > 0) {
    parts.push(plural(minutes, "minute", "minutes"));
  }
  return parts.join(" and ");
}

// sayHours fills <output data-hours-of="coins"> beside an input with id "coins".
function sayHours() {
  for (const output of document.querySelectorAll("[data-hours-of]")) {
    const input = document.getElementById(output.dataset.hoursOf);
    if (!input) {
      continue;
    }
    const say = () => {
      const words = coinsInWords(input.value);
      output.textContent = words ? `That is ${words}.` : "";
    };
    input.addEventListener("input", say);
    say();
  }
}

// copyButtons shows <button data-copy="id" hidden> where the browser can copy.
function copyButtons() {
  if (!navigator.clipboard) {
    return;
  }
  for (const button of document.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    if (!source) {
      continue;
    }
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText((source.value ?? source.textContent).trim());
      button.textContent = "Copied";
    });
  }
}

export function startForms() {
  disableOnSubmit();
  sayHours();
  copyButtons();
}
