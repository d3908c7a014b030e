-- compression_spec.lua -- permessage-deflate with a browser: messages of both kinds and many sizes,
-- compressed and not, with and without contexts.

local chromium = require "browser.chromium"
local cjson = require "cjson"
local http = require "support.http"
local server = require "support.server"

if not chromium.find() then
  describe("compression with a browser", function()
    pending(chromium.missing(), function() end)
  end)
  return
end

local APP = [[
local function echo(compression)
  return {
    compression = compression, max_message_size = "4M", max_backlog = "16M",
    handle_message = function(conn, message, kind) conn:send(message, kind) end,
  }
end
return {
  endpoints = {
    ["/ws/off"] = echo(false), ["/ws/usual"] = echo(true),
    ["/ws/context"] = echo { context = true, threshold = 0 },
  },
  http = {
    ["/"] = function()
      return {
        headers = { ["Content-Type"] = "text/html" },
        body = "<!doctype html><title>x</title><link rel=icon href=data:,>",
      }
    end,
  },
  admin = "127.0.0.1:0",
}
]]

-- Sends texts and bytes of many sizes, and compares what comes back, in order.
local SCRIPT = [[
  window.state = "running";
  const socket = new WebSocket(location.href.replace(/^http/, "ws") + "ws/%s");
  socket.binaryType = "arraybuffer";
  const sent = [];
  socket.onopen = () => {
    for (const size of [0, 1, 100, 1000, 1024, 5000, 70000, 1000000]) {
      const text = JSON.stringify({ size, list: [...Array(size >> 4).keys()] }).slice(0, size);
      const bytes = new Uint8Array(size).map((_, index) => (index * 2654435761) >>> 13);
      for (const message of [text, bytes, text]) {
        sent.push(message);
        socket.send(message);
      }
    }
  };
  let count = 0;
  socket.onmessage = ({ data }) => {
    const expected = sent[count++];
    const same = typeof data === "string" ? data === expected
      : new Uint8Array(data).every((byte, index) => byte === expected[index])
        && data.byteLength === expected.length;
    if (!same) window.state = "different: " + count;
    else if (count === sent.length) socket.close(1000);
  };
  socket.onclose = ({ code }) => {
    window.state = `${window.state === "running" ? "same" : window.state} ${code}`;
    window.extensions = socket.extensions;
  };
]]

describe("compression with a browser", function()
  local app, ada

  lazy_setup(function()
    app = server.start({ app = APP })
    ada = chromium.start()
  end)
  lazy_teardown(function()
    if ada then ada:stop() end
    if app then app:stop() end
  end)

  for name, extensions in pairs({
    off = "",
    usual = "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    context = "permessage-deflate; client_max_window_bits=12",
  }) do
    it("brings all messages back: " .. name, function()
      local function compressed()
        return cjson.decode(http.request(app.admin, "/stats").body).compressed_messages_sent
      end
      local before = compressed()
      ada:reset():open((app:url("/"):gsub("^ws", "http")))
      ada:eval(SCRIPT:format(name))
      ada:wait("window.state !== 'running' && window.extensions !== undefined", 60)
      assert.equal("same 1000", ada:eval("window.state"))
      assert.equal(extensions, ada:eval("window.extensions"))
      assert.equal(name ~= "off", compressed() > before)
      assert.same({}, ada.problems)
    end)
  end
end)
