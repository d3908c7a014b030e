-- compression_spec.lua -- permessage-deflate with third-party clients: Node's `ws` and Python's
-- `websockets`, with all combinations of parameters that they can offer. What they send is like the
-- cases 12 and 13 of the Autobahn test suite, with fewer messages; TIDEWIRE_TEST_COUNT=1000 is its
-- number.

local cjson = require "cjson"
local certificates = require "support.certificates"
local node = require "support.node"
local process = require "support.process"
local server = require "support.server"

local APP = [[
local function echo(context)
  return {
    ping_period = 0, max_backlog = 8 * 1024 * 1024, max_message_size = 2 * 1024 * 1024,
    compression = { threshold = 0, context = context },
    handle_message = function(conn, message, kind) conn:send(message, kind) end,
  }
end
return { endpoints = { ["/"] = echo(false), ["/context"] = echo(true) } }
]]

local NODE, has_node = node.environment, node.has_ws()
local count = tonumber(os.getenv("TIDEWIRE_TEST_COUNT") or 4)

local node_offers = {
  {},
  { threshold = 0 },
  { threshold = 0, serverNoContextTakeover = true, clientNoContextTakeover = true },
  { threshold = 0, serverMaxWindowBits = 9, clientMaxWindowBits = 9 },
  { threshold = 0, serverMaxWindowBits = 12, clientMaxWindowBits = 15 },
  { threshold = 0, serverMaxWindowBits = 15, clientMaxWindowBits = true,
    zlibDeflateOptions = { level = 9 } },
  { threshold = 0, serverNoContextTakeover = true, serverMaxWindowBits = 10 },
}

local python_offers = {
  {},
  { client_max_window_bits = true },
  { server_no_context_takeover = true },
  { client_no_context_takeover = true },
  { server_no_context_takeover = true, client_no_context_takeover = true },
  { server_max_window_bits = 9, client_max_window_bits = 9 },
  { server_max_window_bits = 10, client_max_window_bits = 12 },
  { server_max_window_bits = 15, client_max_window_bits = 15 },
  { server_no_context_takeover = true, server_max_window_bits = 9, client_max_window_bits = 11 },
}

local function offer_text(offer)
  return next(offer) == nil and "{}" or cjson.encode(offer)
end

describe("a compressed connection with", function()
  local function passes(program, script, offers, files)
    local app <close> = server.start({ app = APP, environment = files })
    for _, path in ipairs({ "/", "/context" }) do
      for _, offer in ipairs(offers) do
        local result = process.run(program, {
          args = { script, app:url(path), offer_text(offer), tostring(count) },
          environment = {
            NODE_PATH = NODE.NODE_PATH,
            NODE_EXTRA_CA_CERTS = files and files.TIDEWIRE_TLS_CERTIFICATE,
            SSL_CERT_FILE = files and files.TIDEWIRE_TLS_CERTIFICATE,
          },
          seconds = 300,
        })
        assert.equal(0, result.code,
          path .. " " .. offer_text(offer) .. "\n" .. result.stdout .. result.stderr)
      end
    end
  end

  local function over_tls()
    local certificate, key = certificates.shared()
    return { TIDEWIRE_TLS_CERTIFICATE = certificate, TIDEWIRE_TLS_KEY = key }
  end

  local function with_node(name, body)
    if has_node then return it(name, body) end
    pending(name .. ": needs Node and its package ws (scripts/install browsers)", function()
    end)
  end

  local javascript, python = "tests/interop/compression_client.js", "/usr/bin/python3"
  local script = "tests/interop/compression_client.py"
  with_node("Node's ws works", function() passes("node", javascript, node_offers) end)
  with_node("Node's ws works over TLS", function()
    passes("node", javascript, { node_offers[2] }, over_tls())
  end)
  it("Python's websockets works", function() passes(python, script, python_offers) end)
  it("Python's websockets works over TLS", function()
    passes(python, script, { python_offers[2] }, over_tls())
  end)
end)
