// An application on Node's ws: says what it was asked, echoes, and closes as it is told. `node node_ws.mjs PORT [deflate]`.
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  perMessageDeflate: process.argv[3] === 'deflate',
  handleProtocols: (offered) => (offered.has('chat.v2') ? 'chat.v2' : false),
});
server.on('connection', (socket, request) => {
  socket.on('message', (data, isBinary) => {
    const text = isBinary ? '' : data.toString();
    if (text === 'request?') {
      const { host, origin } = request.headers;
      const client = request.headers['x-forwarded-for'];
      socket.send(JSON.stringify({ path: request.url, host, origin, client, extensions: socket.extensions }));
    } else if (text.startsWith('close ')) {
      const [, code, ...reason] = text.split(' ');
      socket.close(Number(code), reason.join(' '));
    } else if (text === 'vanish') {
      socket.terminate();
    } else {
      socket.send(data, { binary: isBinary });
    }
  });
  socket.on('close', (code, reason) => console.log(`closed ${code} ${reason}`));
});
