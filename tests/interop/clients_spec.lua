-- clients_spec.lua -- third-party clients against the real server, in plain and over TLS: Node's
-- `ws` and Python's `websockets`. Each is a script that uses its library as users do; this spec
-- starts them, with an app that echoes.

local certificates = require "support.certificates"
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

-- Debian's place for Node packages; a package installed by npm is found by itself.
local NODE = { NODE_PATH = "/usr/share/nodejs" }
local has_node = process.find("node")
  and process.run("node", { args = { "-e", "require('ws')" }, environment = NODE }).code == 0

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

  local python, script = "/usr/bin/python3", "tests/interop/python_client.py"
  it("Python's websockets gets along", function() passes(python, script) end)
  it("Python's websockets gets along over TLS", function() passes_over_tls(python, script) end)
end)
