// The state of the page, and all ways to change it: controls, keys and the address.

class App {
  constructor(episodes, waits) {
    this.episodes = episodes;
    this.waits = waits;
    this.episode = -1;
    this.which = 0;
    this.view = "sum";
    this.t = 0;
    this.playing = false;
    this.frame = 0; // the request for the next one, while playing
  }

  get recordings() {
    return this.episodes[this.episode].recordings;
  }

  get recording() {
    return this.recordings[this.which];
  }

  get nSteps() {
    return Math.max(...this.recordings.map((recording) => recording.rewards.shape[0]));
  }

  open(index, t = 0) {
    this.stop();
    this.episode = index;
    this.which = Math.min(this.which, this.recordings.length - 1);
    this.t = Math.min(t, this.nSteps - 1);
    for (const tiles of document.querySelectorAll(".tiles")) {
      tiles.hidden = Number(tiles.dataset.episode) !== index;
    }
    this.panels = this.build();
    const place = document.getElementById("panels");
    place.replaceChildren(...this.panels.map(({ section }) => section));
    document.getElementById("episode").value = String(index);
    document.getElementById("step").max = this.nSteps;
    this.draw();
  }

  build() {
    const panels = [];
    this.recordings.forEach((recording, which) => {
      if (recording.scene || recording.frames) panels.push(worldPanel(this, which));
    });
    if (this.recording.synapses) {
      this.weightScale = largestWeight(this.recordings);
      panels.push(tracePanel(this), weightPanel(this));
    }
    if (seriesOf(this.recording).length) panels.push(seriesPanel(this));
    if (this.waits) panels.push(waitsPanel(this));
    const wide = panels.filter(({ section }) => !section.classList.contains("square"));
    if (wide.length === 1) wide[0].section.classList.add("whole");
    return panels;
  }

  draw() {
    for (const { draw } of this.panels) draw();
    const shown = this.t + 1;
    document.getElementById("step").value = shown;
    document.getElementById("clock").textContent = `step ${shown} / ${this.nSteps}`;
    const play = document.getElementById("play");
    play.textContent = this.playing ? "❚❚" : "▶";
    play.setAttribute("aria-label", this.playing ? "pause" : "play");
    for (const button of document.querySelectorAll("#net button")) {
      button.setAttribute("aria-pressed", Number(button.dataset.which) === this.which);
    }
    document.documentElement.dataset.drawn = shown;
  }

  seek(t) {
    this.t = Math.min(this.nSteps - 1, Math.max(0, t));
    this.draw();
    this.remember();
  }

  choose(which) {
    this.which = Math.min(which, this.recordings.length - 1);
    this.draw();
    this.remember();
  }

  look(view) {
    this.view = view;
    this.draw();
  }

  play() {
    this.playing = true;
    if (this.t === this.nSteps - 1) this.t = 0;
    let last = performance.now();
    const tick = (now) => {
      const pause = 1000 / Number(document.getElementById("speed").value);
      const steps = Math.floor((now - last) / pause);
      if (steps > 0) {
        last += steps * pause;
        this.t = Math.min(this.nSteps - 1, this.t + steps);
        if (this.t === this.nSteps - 1) this.playing = false;
        this.draw();
      }
      if (this.playing) this.frame = requestAnimationFrame(tick);
      else this.remember();
    };
    this.frame = requestAnimationFrame(tick);
    this.draw();
  }

  stop() {
    this.playing = false;
    cancelAnimationFrame(this.frame);
  }

  toggle() {
    if (!this.playing) return this.play();
    this.stop();
    this.seek(this.t);
  }

  // Update the address after a short wait, since browsers refuse too frequent changes.
  remember() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      const ablated = this.which ? "&ablated" : "";
      history.replaceState(null, "", `#t=${this.t + 1}&episode=${this.episode + 1}${ablated}`);
    }, 300);
  }

  // #t=137&episode=2&ablated, each of them optional.
  follow(address) {
    const wanted = new URLSearchParams(address.slice(1));
    const number = (name) => Math.max(1, parseInt(wanted.get(name), 10) || 1) - 1;
    this.which = wanted.has("ablated") ? 1 : 0;
    this.open(Math.min(number("episode"), this.episodes.length - 1), number("t"));
  }
}

function largestWeight(recordings) {
  let largest = 0;
  for (const { synapses } of recordings) {
    for (let t = 0; t < synapses.trace.shape[0]; t++) {
      const sum = weightAt(synapses, "sum", t * synapses.every);
      for (let i = 0; i < synapses.weight.data.length; i++) {
        largest = Math.max(largest, Math.abs(sum(i)), Math.abs(synapses.weight.data[i]));
      }
    }
  }
  return largest || 1;
}

function connect(app) {
  const on = (id, event, act) => document.getElementById(id).addEventListener(event, act);
  const by = (steps) => {
    app.stop();
    app.seek(app.t + steps);
  };
  on("play", "click", () => app.toggle());
  on("back", "click", () => by(-1));
  on("forward", "click", () => by(1));
  on("step", "input", (event) => by(Number(event.target.value) - 1 - app.t));
  on("episode", "change", (event) => {
    app.open(Number(event.target.value));
    app.remember();
  });
  connectKeys({
    " ": (event) => {
      if (!event.repeat) app.toggle();
    },
    ArrowLeft: (event) => by(event.shiftKey ? -10 : -1),
    ArrowRight: (event) => by(event.shiftKey ? 10 : 1),
    Home: () => by(-app.t),
    End: () => by(app.nSteps),
    a: () => app.choose(1 - app.which),
    w: () => {
      const views = Object.keys(WEIGHT_VIEWS);
      app.look(views[(views.indexOf(app.view) + 1) % views.length]);
    },
  });
  addEventListener("hashchange", () => app.follow(location.hash));
  addEventListener("resize", () => app.draw());
  connectTheme(() => app.draw());
}

// The choice of the net whose trace, weights and series are shown.
function netChoice(app) {
  const place = document.getElementById("net");
  if (app.episodes[0].recordings.length === 1) {
    document.getElementById("net-keys").remove();
    return place.remove();
  }
  ["plastic", "ablated"].forEach((label, which) => {
    const button = element("button", "", label);
    button.type = "button";
    button.dataset.which = which;
    button.addEventListener("click", () => app.choose(which));
    place.append(button);
  });
}

function running(data) {
  let sum = 0;
  return Array.from(data, (value) => (sum += value));
}

async function start() {
  const manifest = JSON.parse(document.getElementById("manifest").textContent);
  const buffer = await unpack(document.getElementById("arrays").textContent);
  const episodes = withArrays(buffer, manifest.episodes);
  for (const recording of episodes.flatMap(({ recordings }) => recordings)) {
    recording.totals = running(recording.rewards.data);
    if (recording.frames) recording.frames.picture = await image(recording.frames.source);
  }
  const app = new App(episodes, manifest.waits);
  readColors();
  netChoice(app);
  connect(app);
  document.documentElement.classList.add("scripted"); // before drawing, since hidden elements have no size
  app.follow(location.hash);
  document.documentElement.dataset.ready = "true";
}

start().catch(showFailure);
