// Drives `drawgate demo` with the ws package on Node; started by conformance/clients.py.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import WebSocket from "ws";

const { DRAWGATE_ECHO_URL: ECHO_URL, DRAWGATE_AUTH_URL: AUTH_URL } = process.env;
const { DRAWGATE_TOKEN: TOKEN, DRAWGATE_TOKEN_EXPIRED: TOKEN_EXPIRED } = process.env;
const PREFIX = "Server received: ";
// No step waits longer than this, whatever the server does.
const limit = { timeout: 15_000 };

/** A connection for one test, which ends with it; messages queue from the start, so that none is missed. */
async function open(t, url) {
  const socket = new WebSocket(url);
  t.after(() => socket.terminate());
  const waiting = [];
  const messages = [];
  socket.on("message", (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    if (waiting.length > 0) waiting.shift()(message);
    else messages.push(message);
  });
  const closed = new Promise((resolve) => {
    socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  await once(socket, "open");
  const next = () =>
    messages.length > 0 ? Promise.resolve(messages.shift()) : new Promise((resolve) => waiting.push(resolve));
  return { socket, next, messages, closed };
}

test("text comes back as text with the prefix", limit, async (t) => {
  const { socket, next } = await open(t, ECHO_URL);
  for (const text of ["hello", "", "aé€𝄞 👩‍👩‍👧", "0123456789abcde\n".repeat(6400), "last"]) {
    socket.send(text);
    assert.equal(await next(), PREFIX + text);
  }
});

test("binary comes back as binary with the prefix", limit, async (t) => {
  const { socket, next } = await open(t, ECHO_URL);
  const payload = Buffer.from([0, 1, 254, 255]);
  socket.send(payload);
  assert.deepEqual(await next(), Buffer.concat([Buffer.from(PREFIX), payload]));
});

test("a fragmented message is answered once", limit, async (t) => {
  const { socket, next } = await open(t, ECHO_URL);
  socket.send("one ", { fin: false });
  socket.send("two", { fin: true });
  socket.send("next");
  assert.equal(await next(), `${PREFIX}one two`);
  assert.equal(await next(), `${PREFIX}next`);
});

test("a ping is answered with its payload within a second", limit, async (t) => {
  const { socket } = await open(t, ECHO_URL);
  const started = performance.now();
  socket.ping("are you there");
  const [payload] = await once(socket, "pong");
  assert.equal(payload.toString(), "are you there");
  assert.ok(performance.now() - started < 1000);
});

test("a close is answered with its code", limit, async (t) => {
  const { socket, closed } = await open(t, ECHO_URL);
  socket.close(1000, "done");
  assert.equal((await closed).code, 1000);
});

test("an offer of compression is declined", limit, async (t) => {
  const { socket } = await open(t, ECHO_URL);
  assert.equal(socket.extensions, "");
});

test("a valid token opens the echo", limit, async (t) => {
  const { socket, next } = await open(t, AUTH_URL);
  socket.send(TOKEN);
  assert.equal(await next(), "Authenticated!");
  socket.send("hello");
  assert.equal(await next(), `${PREFIX}hello`);
});

for (const [name, token, title, label] of [
  ["an expired token is told so", TOKEN_EXPIRED, "Token Expired", "token_expired"],
  ["garbage is told so", "this is not a token", "Token Invalid", "token_invalid"],
]) {
  test(name, limit, async (t) => {
    const { socket, messages, closed } = await open(t, AUTH_URL);
    socket.send(token);
    const { code, reason } = await closed;
    assert.deepEqual(messages, [title]);
    assert.equal(code, 3000);
    assert.match(reason, new RegExp(`^${label}: .`));
  });
}

test("silence is ended after five seconds", limit, async (t) => {
  const started = performance.now();
  const { closed } = await open(t, AUTH_URL);
  const { code, reason } = await closed;
  const waitedMs = performance.now() - started;
  assert.equal(code, 3008);
  assert.match(reason, /^first_message_timeout: ./);
  assert.ok(waitedMs > 4500 && waitedMs < 8000, `waited ${waitedMs} ms`);
});
