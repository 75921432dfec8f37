// The state of the live page, and all ways to change it: time, controls and keys.

const FRAME = 12; // milliseconds of steps between two pictures, at most
const SMOOTH = 30; // steps per second below which the agents glide from cell to cell
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

const find = (selector) => document.querySelector(selector);

class App {
  constructor({ net, maze, seed, deterministic }) {
    this.maze = buildMaze(maze);
    this.nets = [net, ablated(net)];
    this.deterministic = deterministic;
    this.random = randomNumbers(seed);
    this.worlds = [...document.querySelectorAll(".world")];
    this.episode = 0;
    this.bins = []; // rewards of both in each 20 steps
    this.totals = [0, 0]; // rewards of both since the page was opened
    this.age = 0; // steps since then
    this.cursor = null; // the cell that is pointed at
    this.playing = false;
    this.frame = 0; // the request for the next one, while playing
    this.share = 1; // of the way from the last place to the present one
    this.newEpisode();
  }

  // Both start anew, without any trace. The reward is at a random place, or where it is wanted.
  newEpisode(goal = this.randomGoal()) {
    const { center, random_start } = this.maze;
    const start = random_start || goal === center ? elsewhere(this.maze, goal, this.random()) : center;
    this.lives = this.nets.map((net) => newLife(net, this.maze, start, goal));
    this.begin(false);
  }

  // Put the reward into a cell. Without the trace, this is a new episode.
  moveReward(goal) {
    if (!find("#keep").checked) return this.newEpisode(goal);
    for (const life of this.lives) moveGoal(life, goal);
    this.begin(true);
  }

  begin(kept) {
    this.episode += 1;
    this.modulation = [];
    this.rewarded = [];
    this.addBin({ begins: true, kept });
    this.share = 1;
  }

  addBin({ begins, kept }) {
    this.bins.push({ rewards: [0, 0], steps: 0, begins, kept, episode: this.episode });
    this.bins = this.bins.slice(-BINS);
  }

  randomGoal() {
    const { goals } = this.maze;
    return goals[integer(this.random(), goals.length)];
  }

  get steps() {
    return this.lives[0].world.steps;
  }

  // One step of both, with the same random numbers.
  step() {
    if (this.steps === this.maze.episode_length) this.newEpisode();
    if (this.bins.at(-1).steps === BIN) this.addBin({ begins: false });
    const bin = this.bins.at(-1);
    const uniforms = [this.random(), this.random()];
    this.lives.forEach((life, which) => {
      const { reward } = liveStep(life, ...uniforms, this.deterministic);
      bin.rewards[which] += reward;
      this.totals[which] += reward;
    });
    bin.steps += 1;
    this.age += 1;
    const [{ state, last }] = this.lives;
    if (state.modulation) this.modulation.push(mean(state.modulation));
    if (last.hit) this.rewarded.push(this.steps - 1);
  }

  play() {
    this.playing = true;
    let last = performance.now();
    const tick = (now) => {
      const pause = 1000 / Number(find("#speed").value);
      const until = performance.now() + FRAME;
      while (now - last >= pause && performance.now() < until) {
        this.step();
        last += pause;
      }
      if (now - last >= pause) last = now; // too slow, or the page was hidden
      this.share = pause < 1000 / SMOOTH || CALM.matches ? 1 : (now - last) / pause;
      this.draw();
      this.frame = requestAnimationFrame(tick);
    };
    this.frame = requestAnimationFrame(tick);
  }

  stop() {
    this.playing = false;
    this.share = 1;
    cancelAnimationFrame(this.frame);
    this.draw();
  }

  toggle() {
    if (this.playing) this.stop();
    else this.play();
  }

  forward() {
    this.stop();
    this.step();
    this.draw();
  }

  draw() {
    this.lives.forEach((life, which) => {
      const world = this.worlds[which];
      drawMaze(world.querySelector("canvas"), life, this.share, this.cursor);
      world.querySelector(".score").innerHTML = `<b>${life.waits.length}</b>rewards found`;
      showWaits(world.querySelector(".waits"), life);
    });
    this.drawTrace();
    drawRewards(find(".rewards canvas"), this.bins);
    document.querySelectorAll(".legend output").forEach((output, which) => {
      output.textContent = ((BIN * this.totals[which]) / Math.max(1, this.age)).toFixed(1);
    });
    if (this.nets[0].modulation !== "none") {
      const length = this.maze.episode_length;
      drawModulation(find(".modulation canvas"), this.modulation, this.rewarded, length);
      find("#modulation-note").textContent = `sets how fast the trace changes: ${signed(this.modulation.at(-1) ?? 0)}`;
    }
    find("#clock").textContent = `episode ${this.episode}, step ${this.steps} / ${this.maze.episode_length}`;
    const play = find("#play");
    play.textContent = this.playing ? "❚❚" : "▶";
    play.setAttribute("aria-label", this.playing ? "pause" : "play");
  }

  drawTrace() {
    const [{ net, state }] = this.lives;
    const [n] = net.weight.shape;
    const scale = net.limit ?? largest(state.trace);
    drawMatrix(find(".trace canvas"), (i) => state.trace[i], n, n, scale);
    find("#low").textContent = `−${short(scale)}`;
    find("#high").textContent = `+${short(scale)}`;
    const size = mean(state.trace.map(Math.abs)).toFixed(3);
    find("#trace-note").textContent = `Hebbian trace of ${n} × ${n} connections, mean |trace| ${size}`;
  }
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function signed(value) {
  return value.toFixed(3).replace("-", "−");
}

function largest(values) {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
}

// Controls and keys.
function connect(app) {
  const on = (id, event, act) => find(id).addEventListener(event, act);
  const change = (act, sentence) => () => {
    act();
    find("#said").textContent = sentence;
    app.draw();
  };
  const begin = change(() => app.newEpisode(), "A new episode: the trace is zero, the reward somewhere else.");
  const move = change(() => app.moveReward(app.randomGoal()), "The reward is somewhere else.");
  on("#play", "click", () => app.toggle());
  on("#forward", "click", () => app.forward());
  on("#new", "click", begin);
  on("#move", "click", move);
  connectKeys({
    " ": (event) => {
      if (!event.repeat) app.toggle();
    },
    ArrowRight: () => app.forward(),
    n: begin,
    m: move,
  });
  for (const world of app.worlds) connectMaze(app, world.querySelector("canvas"));
  addEventListener("resize", () => app.draw());
  connectTheme(() => app.draw());
}

const ARROWS = { ArrowUp: 0, ArrowDown: 1, ArrowLeft: 2, ArrowRight: 3 };

// A click, or the arrow keys and Enter, move the reward.
function connectMaze(app, canvas) {
  const { maze } = app;
  const point = (cell) => {
    app.cursor = cell;
    if (!app.playing) app.draw();
  };
  const choose = (cell) => {
    if (cell === null) return;
    app.moveReward(cell);
    find("#said").textContent = `The reward is in row ${maze.cells[cell][0]}, column ${maze.cells[cell][1]}.`;
    app.draw();
  };
  canvas.addEventListener("pointermove", (event) => point(cellUnder(canvas, maze, event)));
  canvas.addEventListener("pointerleave", () => point(null));
  canvas.addEventListener("click", (event) => choose(cellUnder(canvas, maze, event)));
  canvas.addEventListener("blur", () => point(null));
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter") choose(app.cursor);
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    event.stopPropagation(); // the arrow on its own would be a step
    point(maze.next[app.cursor ?? app.lives[0].world.goal][ARROWS[event.key]]);
    const [row, column] = maze.cells[app.cursor];
    find("#said").textContent = `row ${row}, column ${column}`;
  });
}

let app; // for tests, and for whoever looks at it from the console

async function start() {
  const manifest = JSON.parse(find("#manifest").textContent);
  app = new App(withArrays(await unpack(find("#arrays").textContent), manifest));
  if (app.nets[0].modulation === "none") {
    find(".modulation").remove();
    find(".rewards").classList.add("whole");
  }
  find("#keep").checked = app.maze.goal_moves > 0; // else it has not learned to give up a place
  readColors();
  connect(app);
  document.documentElement.classList.add("scripted"); // before drawing, since hidden elements have no size
  app.draw();
  if (location.hash !== "#paused" && !CALM.matches) app.play();
  document.documentElement.dataset.ready = "true";
}

start().catch(showFailure);
