-- clients_spec.lua -- third-party clients against the real server, in plain and over TLS: Node's
-- `ws` and Python's `websockets`. Each is a script that uses its library as users do; this spec
-- starts them, with an app that echoes. And a client as tutorials have it, against the JSON
-- heartbeat.

local certificates = require "support.certificates"
local loop = require "support.loop"
local node = require "support.node"
local process = require "support.process"
local server = require "support.server"

local APP = [[
return {
  ping_period = 0,
  subprotocols = { "echo.v1" },
  max_message_size = 2 * 1024 * 1024,
  max_backlog = 8 * 1024 * 1024,
  handle_message = function(conn, message, kind)
    local code, reason = message:match("^close (%d+) (.*)$")
    if code then return conn:close(tonumber(code), reason) end
    if message == "ping" then return conn:ping() end
    if message == "rtt" then return conn:send(conn.rtt and "known" or "unknown") end
    conn:send(message, kind)
  end,
}
]]

local HEARTBEAT_APP = [[
return {
  codec = "json",
  heartbeat = "json",
  ping_period = 0.1,
  handle_message = function(conn, message)
    conn:send({ got = message, rtt = conn.rtt ~= nil })
  end,
}
]]

local NODE, has_node = node.environment, node.has_ws()

describe("a client made with", function()
  local function passes(program, script, files)
    local app <close> = server.start({ app = APP, environment = files })
    local result = process.run(program, {
      args = { script, app:url("/") },
      environment = {
        NODE_PATH = NODE.NODE_PATH,
        -- Authorities that Node, and Python, trust beside the usual ones.
        NODE_EXTRA_CA_CERTS = files and files.TIDEWIRE_TLS_CERTIFICATE,
        SSL_CERT_FILE = files and files.TIDEWIRE_TLS_CERTIFICATE,
      },
      seconds = 60,
    })
    assert.equal(0, result.code, result.stdout .. result.stderr)
  end

  -- With Node only where there is Node: it is large, and `scripts/test --no-browser` does without.
  local function with_node(name, body)
    if has_node then return it(name, body) end
    pending(name .. ": needs Node and its package ws (scripts/install browsers)", function()
    end)
  end

  local function passes_over_tls(program, script)
    local certificate, key = certificates.shared()
    passes(program, script, { TIDEWIRE_TLS_CERTIFICATE = certificate, TIDEWIRE_TLS_KEY = key })
  end

  with_node("Node's ws gets along", function() passes("node", "tests/interop/node_client.js") end)
  with_node("Node's ws gets along over TLS", function()
    passes_over_tls("node", "tests/interop/node_client.js")
  end)

  with_node("a WebSocket and a few lines gets along with the JSON heartbeat", function()
    local app = server.start({ app = HEARTBEAT_APP })
    local address = "127.0.0.1:" .. app.addresses[1].port
    local output = process.make_directory() .. "/output"
    local client = process.start("node", {
      args = {
        "tests/interop/plain_client_node.js", app:url("/"), tostring(loop.patience / 60 * 500),
      },
      environment = NODE, stdout = output, stderr = output,
    })
    local function says(word)
      local said = loop.wait_until(function()
        return process.read_file(output):find(word, 1, true)
      end)
      assert.is_truthy(said, process.read_file(output))
    end
    says("ready")
    app:stop()
    app = server.start({ app = HEARTBEAT_APP, listen = { address } })
    says("again")
    app:stop()
    says("given up")
    assert.equal(0, client:wait_exit(), process.read_file(output))
    process.remove_directory((output:match("^(.*)/")))
  end)

  local python, script = "/usr/bin/python3", "tests/interop/python_client.py"
  it("Python's websockets gets along", function() passes(python, script) end)
  it("Python's websockets gets along over TLS", function() passes_over_tls(python, script) end)
end)
