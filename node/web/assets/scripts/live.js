// Keeps open pages fresh. The server's stream at /api/v1/events says what happened:
//   event: happened
//   data: {"kind": "coin.given", "minutes": 60, "at": 1772438400000}
// The kind's first word tells which topics changed, and every element with an id and data-live="coins" is
// taken anew from its own page and put in place.
// "*" as a topic means all of them: used after a reconnect, when something may have been missed.

const GATHER_MILLISECONDS = 300;

const TOPICS = {
  coin: ["coins", "circle"],
  exchange: ["coins", "circle", "alliances"],
};

// topicsOf names what an event of a kind may have changed.
function topicsOf(kind) {
  return TOPICS[kind.split(".")[0]] ?? ["circle"];
}

function wants(element, topics) {
  return topics.has("*") || element.dataset.live.split(/\s+/).some((topic) => topics.has(topic));
}

// inUse is true while someone's place on the page is inside: nothing is changed under their hands.
function inUse(element) {
  return element.contains(document.activeElement);
}

function say(words) {
  if (words) {
    document.getElementById("live-say").textContent = words;
  }
}

// refresh asks for this page once. Signed out or out of reach, it leaves the page as it is.
async function refresh(topics) {
  const stale = [...document.querySelectorAll("[data-live][id]")].filter((e) => wants(e, topics));
  if (stale.length === 0) {
    return;
  }
  const answer = await fetch(window.location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) {
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of stale) {
    const fresh = page.getElementById(old.id);
    if (!fresh || inUse(old) || fresh.outerHTML === old.outerHTML) {
      continue;
    }
    const place = document.importNode(fresh, true);
    old.replaceWith(place);
    window.htmx.process(place);
    say(place.dataset.liveSay);
  }
}

// gatherer joins changes that come in quick succession into one refresh.
function gatherer() {
  let waiting = new Set();
  let timer = 0;
  return (topics) => {
    topics.forEach((topic) => waiting.add(topic));
    clearTimeout(timer);
    timer = setTimeout(() => {
      const gathered = waiting;
      waiting = new Set();
      refresh(gathered);
    }, GATHER_MILLISECONDS);
  };
}

export function startLive() {
  if (!document.querySelector("[data-live][id]")) {
    return;
  }
  const note = gatherer();
  let stream = null;
  let openedBefore = false;
  const listen = () => {
    stream = new EventSource("/api/v1/events");
    stream.addEventListener("open", () => {
      if (openedBefore) {
        note(["*"]);
      }
      openedBefore = true;
    });
    stream.addEventListener("happened", (event) => note(topicsOf(JSON.parse(event.data).kind)));
  };
  listen();
  window.addEventListener("pagehide", () => stream.close());
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) {
      listen();
    }
  });
}
