// plain_client.js -- a client as tutorials have it: a class around a WebSocket that sends a ping
// now and then, answers `ping` with `pong`, and connects again a few times. For Node and for pages.
//
// It knows nothing of Tidewire, and Tidewire must get along with it. Times are milliseconds.
class PlainClient {
  constructor(url, { pingInterval = 25000, reconnectDelay = 3000, maxReconnects = 5 } = {}) {
    Object.assign(this, { url, pingInterval, reconnectDelay, maxReconnects });
    this.attempts = 0;
    this.pings = 0;
    this.pongs = 0;
    this.answered = 0;
    this.listeners = {};
  }

  connect() {
    this.socket = new WebSocket(this.url);
    this.socket.onopen = () => {
      this.attempts = 0;
      this.timer = setInterval(() => this.ping(), this.pingInterval);
      this.tell('open');
    };
    this.socket.onmessage = (event) => this.take(JSON.parse(event.data));
    this.socket.onerror = () => this.tell('error');
    this.socket.onclose = (event) => {
      clearInterval(this.timer);
      this.tell('close', event.code);
      if (event.code === 1000) return;
      if (this.attempts === this.maxReconnects) return this.tell('given up');
      this.attempts += 1;
      setTimeout(() => this.connect(), this.reconnectDelay * this.attempts);
    };
  }

  take(message) {
    if (message.type === 'ping') {
      this.answered += 1;
      this.send({ type: 'pong', pingId: message.pingId, timestamp: Date.now() });
    } else if (message.type === 'pong') {
      this.pongs += 1;
      this.latency = Date.now() - this.pingedAt;
      this.tell('pong', message);
    } else {
      this.tell('message', message);
    }
  }

  ping() {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.pings += 1;
    this.pingedAt = Date.now();
    this.send({ type: 'ping', pingId: this.pings, timestamp: this.pingedAt });
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  on(event, listener) {
    this.listeners[event] = listener;
  }

  tell(event, value) {
    if (this.listeners[event]) this.listeners[event](value);
  }

  close() {
    this.socket.close(1000);
  }
}

if (typeof module === 'object') module.exports = PlainClient;
