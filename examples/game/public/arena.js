// arena.js -- a match as the page knows it, and its state at a moment between two ticks.
//
// The server sends all positions once a tick. The page shows the moment two ticks ago, between the
// last two states, so movement is smooth although states arrive unevenly. Events wait until the
// shown moment has reached their tick. Bolts fly straight, so one event is enough to compute their
// positions. Knows neither page nor connection; the server has the rules (world.lua).

const BEHIND = 2;         // ticks
const JUMP = 150;         // a player that has moved so far in a tick was put there: no gliding
const LATE = 20;          // ticks: what is shown hangs (a hidden page), so events are taken at once
const FIELDS = 6;         // of a player in a state

const radians = (degrees) => degrees * Math.PI / 180;

// A colour of its own for each id: the golden angle sets neighbours far apart.
export const hueOf = (id) => (id * 137.508) % 360;

// world.radius in world.lua.
export const radiusOf = (points) => 15 + 30 * Math.sqrt(points / 999);

export class Arena {
  #states = [];       // { tick, list, index: id -> where it is in the list }, oldest first
  #queue = [];        // { tick, events } that are still to come
  #origin = Infinity; // when tick 0 was, on our clock: as the quickest message has it
  #period;
  #onHappened;

  // onHappened(kind, ...values) is called for each event at its time.
  constructor(welcome, now, onHappened) {
    Object.assign(this, {
      you: welcome.you, match: welcome.match, width: welcome.width, height: welcome.height,
      shields: welcome.shields, bolt: welcome.bolt, tick: welcome.tick,
      players: new Map(), // id -> { id, name, isBot, hue, x, y, heading, points, shields, radius }
      orbs: new Map(),    // id -> { x, y, value, hue }
      bolts: new Map(),   // id -> { by, x, y, heading, tick }
    });
    this.#period = 1000 / welcome.ticks_per_second;
    this.#onHappened = onHappened;
    for (const player of welcome.players) this.join(player);
    for (let at = 0; at < welcome.orbs.length; at += 4) {
      this.#happen(["orb", ...welcome.orbs.slice(at, at + 4)]);
    }
    for (let at = 0; at < welcome.bolts.length; at += 6) {
      const [id, by, x, y, heading, tick] = welcome.bolts.slice(at, at + 6);
      this.bolts.set(id, { by, x, y, heading, tick });
    }
    this.takeState(welcome.tick, welcome.positions, now);
    this.advance(now);
  }

  join({ id, name, bot }) {
    const known = { id, name, isBot: bot, hue: hueOf(id) };
    this.players.set(id, { ...known, heading: 0, points: 0, shields: 0, radius: radiusOf(0) });
  }

  leave(id) {
    this.players.delete(id);
  }

  get me() {
    return this.players.get(this.you);
  }

  takeState(tick, list, now) {
    const index = new Map();
    for (let at = 0; at < list.length; at += FIELDS) index.set(list[at], at);
    this.tick = tick;
    this.#states.push({ tick, list, index });
    // The quickest message counts; that it grows a little each time lets the two clocks differ.
    this.#origin = Math.min(this.#origin + 0.1, now - tick * this.#period);
  }

  takeEvents(tick, events) {
    this.#queue.push({ tick, events });
  }

  // What is shown becomes that of this moment. Returns its tick, with a fraction.
  advance(now) {
    const shown = Math.min((now - this.#origin) / this.#period - BEHIND, this.tick);
    while (this.#queue.length > 0
      && (this.#queue[0].tick <= shown || this.#queue[0].tick < this.tick - LATE)) {
      const { tick, events } = this.#queue.shift();
      for (const event of events) this.#happen(event, tick);
    }
    while (this.#states.length > 1 && this.#states[1].tick <= shown) this.#states.shift();
    this.#place(shown);
    for (const [id, bolt] of this.bolts) {
      const place = this.boltAt(bolt, shown);
      const isOver = shown - bolt.tick > this.bolt.ticks || place.x < 0 || place.y < 0
        || place.x > this.width || place.y > this.height;
      if (isOver) this.bolts.delete(id);
    }
    return shown;
  }

  boltAt(bolt, shown) {
    const way = this.bolt.speed * (shown - bolt.tick);
    const angle = radians(bolt.heading);
    return { x: bolt.x + way * Math.cos(angle), y: bolt.y + way * Math.sin(angle) };
  }

  // All players between the state before and the state after.
  #place(shown) {
    const before = this.#states[0];
    const after = this.#states[1] ?? before;
    const part = after === before ? 1
      : Math.max(0, (shown - before.tick) / (after.tick - before.tick));
    for (const player of this.players.values()) {
      const to = after.index.get(player.id);
      if (to === undefined) continue; // a state from before it joined
      const [, x, y, heading, points, shields] = after.list.slice(to, to + FIELDS);
      Object.assign(player, { x, y, heading, points, shields, radius: radiusOf(points) });
      const from = before.index.get(player.id);
      if (from === undefined) continue;
      const [, oldX, oldY, oldHeading] = before.list.slice(from, from + FIELDS);
      if (Math.abs(x - oldX) + Math.abs(y - oldY) > JUMP * (after.tick - before.tick)) continue;
      player.x = oldX + (x - oldX) * part;
      player.y = oldY + (y - oldY) * part;
      player.heading = oldHeading + ((heading - oldHeading + 540) % 360 - 180) * part;
    }
  }

  #happen([kind, id, ...values], tick) {
    if (kind === "orb") {
      const [x, y, value] = values;
      this.orbs.set(id, { x, y, value, hue: hueOf(id) });
    } else if (kind === "ate") {
      this.#onHappened(kind, this.orbs.get(id), this.players.get(values[0]));
      this.orbs.delete(id);
    } else if (kind === "shot") {
      const [by, x, y, heading] = values;
      this.bolts.set(id, { by, x, y, heading, tick });
      this.#onHappened(kind, this.players.get(by));
    } else if (kind === "hit") {
      this.bolts.delete(id);
      this.#onHappened(kind, this.players.get(values[0]), this.players.get(values[1]));
    } else if (kind === "out") {
      this.#onHappened(kind, this.players.get(id), this.players.get(values[0]));
    }
  }
}
