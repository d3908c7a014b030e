// node_server.js -- an echo server made with Node's `ws`, for connect_spec.lua. It does what
// servers.py says.
'use strict';
const WebSocket = require('ws');

const server = new WebSocket.Server({
  host: process.argv[2] || '127.0.0.1',
  port: 0,
  maxPayload: 1 << 22,
  perMessageDeflate: true,
  handleProtocols: (offered) => [...offered].includes('echo.v1') && 'echo.v1',
});

server.on('listening', () => console.log(server.address().port));

server.on('connection', (socket, request) => {
  socket.on('close', (code, reason) => console.log(`closed ${code} ${reason}`));
  socket.on('pong', () => socket.send('pong came'));
  socket.on('message', (data, isBinary) => {
    const text = isBinary ? null : data.toString();
    const close = /^close (\d+) (.*)$/.exec(text);
    if (text === 'ping') {
      socket.ping('are you there');
    } else if (text === 'fragments') {
      socket.send('one ', { fin: false });
      socket.send('two ', { fin: false });
      socket.send('three', { fin: true });
    } else if (text === 'request') {
      socket.send(`${request.url} ${request.headers['x-test'] || '-'} ${request.headers.host}`);
    } else if (close) {
      socket.close(Number(close[1]), close[2]);
    } else {
      socket.send(data, { binary: isBinary });
    }
  });
});
