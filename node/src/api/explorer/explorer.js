// The explorer's script: reads this node's own API and listens to its events.
// Texts of strangers (agents, addresses) are only ever set as text, never as markup.
"use strict";

const BLOCKS_SHOWN = 20;
const MEMPOOL_SHOWN = 20;
const RECONNECT_MS = [500, 1000, 2000, 5000];

const byId = (id) => document.getElementById(id);

async function get(path) {
  const response = await fetch(path);
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail || response.statusText);
  return body;
}

function cell(row, text, href) {
  const td = row.insertCell();
  if (href) {
    const link = document.createElement("a");
    link.href = href;
    link.textContent = text;
    td.append(link);
  } else {
    td.textContent = text;
  }
}

function fill(id, items, write) {
  const body = byId(id).tBodies[0];
  const rows = items.map((item) => {
    const row = document.createElement("tr");
    write(row, item);
    return row;
  });
  body.replaceChildren(...rows);
}

// Pebbles come as decimal strings, which BigInt keeps exact.
function crn(pebbles) {
  const amount = BigInt(pebbles);
  const whole = amount / 100000000n;
  return `${whole}.${(amount % 100000000n).toString().padStart(8, "0")}`;
}

const short = (hash) => `${hash.slice(0, 12)}…`;
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();

async function showStatus() {
  const status = await get("/v1/status");
  byId("chain").textContent = status.chain;
  document.title = `Cairn ${status.chain} ${status.height}`;
  const list = Object.entries(status).flatMap(([name, value]) => {
    const term = document.createElement("dt");
    term.textContent = name.replaceAll("_", " ");
    const definition = document.createElement("dd");
    definition.textContent = String(value);
    return [term, definition];
  });
  byId("status").replaceChildren(...list);
}

async function showBlocks() {
  const page = await get(`/v1/blocks?limit=${BLOCKS_SHOWN}`);
  fill("blocks", page.blocks, (row, block) => {
    cell(row, block.height, `/v1/blocks/${block.height}`);
    cell(row, short(block.id), `/v1/blocks/${block.id}`);
    cell(row, clock(block.time));
    cell(row, block.transactions);
    cell(row, block.bytes);
    cell(row, crn(block.fees));
  });
}

async function showMempool() {
  const mempool = await get(`/v1/mempool?limit=${MEMPOOL_SHOWN}`);
  byId("mempool-total").textContent = `${mempool.count} transactions, ${mempool.bytes} bytes`;
  fill("mempool", mempool.transactions, (row, transaction) => {
    cell(row, short(transaction.txid), `/v1/transactions/${transaction.txid}`);
    cell(row, crn(transaction.fee));
    cell(row, transaction.fee_rate);
    cell(row, transaction.bytes);
  });
}

async function showPeers() {
  const { peers } = await get("/v1/peers");
  byId("peers-total").textContent = String(peers.length);
  fill("peers", peers, (row, peer) => {
    cell(row, peer.peer_id);
    cell(row, peer.direction);
    cell(row, peer.height ?? "");
    cell(row, peer.ping_ms == null ? "" : `${peer.ping_ms.toFixed(1)} ms`);
    cell(row, peer.agent ?? "");
  });
}

// Runs at most one refresh at a time; what comes meanwhile causes one more afterwards.
function refresher(...shows) {
  let running = false;
  let again = false;
  return async function refresh() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    do {
      again = false;
      await Promise.allSettled(shows.map((show) => show()));
    } while (again);
    running = false;
  };
}

const refreshChain = refresher(showStatus, showBlocks, showMempool);
const refreshMempool = refresher(showMempool);
const refreshPeers = refresher(showPeers);

function listen(attempt) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/v1/events`);
  let tries = attempt;
  socket.onopen = () => {
    tries = 0;
    byId("live").textContent = "live";
    refreshChain();
    refreshPeers();
  };
  socket.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.type === "transaction") refreshMempool();
    else refreshChain();
  };
  socket.onclose = (close) => {
    const reason = close.reason ? ` (${close.reason})` : "";
    byId("live").textContent = `not connected${reason}, trying again …`;
    setTimeout(() => listen(tries + 1), RECONNECT_MS[Math.min(tries, RECONNECT_MS.length - 1)]);
  };
}

byId("search").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  const text = byId("query").value.trim();
  if (/^[0-9]{1,20}$/.test(text)) {
    location.href = `/v1/blocks/${text}`;
  } else if (/^[0-9a-fA-F]{64}$/.test(text)) {
    const block = await fetch(`/v1/blocks/${text}`);
    location.href = block.ok ? `/v1/blocks/${text}` : `/v1/transactions/${text}`;
  } else if (text) {
    location.href = `/v1/addresses/${encodeURIComponent(text)}`;
  }
});

refreshChain();
refreshPeers();
setInterval(refreshPeers, 5000);
listen(0);
