-- keep_alive_spec.lua -- HTTP clients that keep their connections, as users have them: curl,
-- Python's http.client, Node's http, ab. Each counts its connections.

local certificates = require "support.certificates"
local process = require "support.process"
local server = require "support.server"

local APP = [[
  local tw = require "tidewire"
  return {
    http = {
      ["/"] = { static = "public" },
      ["GET /sleep"] = function() tw.sleep(0.01) return "slept" end,
      ["POST /length"] = function(request) return tostring(#(request.body or "")) end,
    },
  }
]]

local PYTHON = [[
import http.client, ssl, sys, socket
host, port, scheme = "127.0.0.1", int(sys.argv[1]), sys.argv[2]
connects = 0
real = socket.create_connection
def counted(*args, **kwargs):
    global connects
    connects += 1
    return real(*args, **kwargs)
socket.create_connection = counted
context = ssl._create_unverified_context()
c = (http.client.HTTPConnection(host, port) if scheme == "http"
     else http.client.HTTPSConnection(host, port, context=context))
c._create_connection = counted
def ask(method, path, body=None, headers={}, status=200):
    c.request(method, path, body, headers)
    r = c.getresponse()
    data = r.read()
    assert r.status == status, (method, path, r.status)
    return data, r
for _ in range(50):
    data, r = ask("GET", "/a.txt")
    assert data == b"a file" and r.getheader("Keep-Alive") == "timeout=75"
    ask("GET", "/a.txt", headers={"If-None-Match": r.getheader("ETag")}, status=304)
    ask("HEAD", "/a.txt")
    ask("GET", "/none", status=404)
    assert ask("GET", "/sleep")[0] == b"slept"
    assert ask("POST", "/length", b"x" * 70000)[0] == b"70000"
    assert ask("POST", "/length", (b"y" * 1000 for _ in range(20)))[0] == b"20000" # in chunks
assert connects == 1, connects
]]

local NODE = [[
const http = require(process.argv[2])
const agent = new http.Agent({ keepAlive: true, maxSockets: 2, rejectUnauthorized: false })
const ports = new Set()
const ask = (path, body) => new Promise((resolve, reject) => {
  const request = http.request({ host: "127.0.0.1", port: process.argv[1], path, agent,
    method: body ? "POST" : "GET", headers: body ? { Expect: "100-continue" } : {} }, response => {
    let text = ""
    response.on("data", part => { text += part })
    response.on("end", () => resolve(text))
  })
  request.on("socket", socket => {
    if (socket.localPort) ports.add(socket.localPort)
    else socket.once("connect", () => ports.add(socket.localPort))
  })
  request.on("error", reject)
  request.end(body)
});
(async () => {
  for (let round = 0; round < 20; round++) {
    const all = await Promise.all([ask("/a.txt"), ask("/sleep"), ask("/a.txt"), ask("/none"),
      ask("/length", "x".repeat(1000)), ask("/sleep")])
    if (all.join() !== 'a file,slept,a file,' + all[3] + ',1000,slept') throw new Error(all.join())
  }
  if (ports.size > 2) throw new Error(ports.size + " connections")
  agent.destroy()
})().catch(error => { console.error(error); process.exit(1) })
]]

local function installed(name) return process.find(name) ~= nil end

-- A test for each client that is there.
local function with(name, description, body)
  if installed(name) then return it(description, body) end
  pending(("%s: needs %s"):format(description, name), function() end)
end

local function start(is_tls)
  local certificate, key = certificates.shared()
  return server.start({
    app = APP, files = { ["public/a.txt"] = "a file", ["public/b.txt"] = "b file" },
    environment = is_tls and { TIDEWIRE_TLS_CERTIFICATE = certificate, TIDEWIRE_TLS_KEY = key }
      or { TIDEWIRE_TLS_CERTIFICATE = false, TIDEWIRE_TLS_KEY = false },
  })
end

local function run(program, args)
  local result = process.run(program, { args = args, seconds = 120 })
  assert.equal(0, result.code, result.stdout .. result.stderr)
  return result.stdout
end

describe("one connection has all requests of", function()
  for _, scheme in ipairs({ "http", "https" }) do
    with("curl", "curl, by " .. scheme, function()
      local app <close> = start(scheme == "https")
      local base = ("%s://127.0.0.1:%d"):format(scheme, app.addresses[1].port)
      local args = { "-s", "-k", "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null",
        "-w", "%{http_code} %{num_connects} ", base .. "/a.txt", base .. "/sleep",
        base .. "/b.txt" }
      assert.equal("200 1 200 0 200 0 ", run("curl", args))
    end)

    with("python3", "Python's http.client, by " .. scheme, function()
      local app <close> = start(scheme == "https")
      run("python3", { "-c", PYTHON, tostring(app.addresses[1].port), scheme })
    end)

    with("node", "an agent of Node, by " .. scheme, function()
      local app <close> = start(scheme == "https")
      run("node", { "-e", NODE, tostring(app.addresses[1].port), scheme })
    end)
  end

  with("ab", "each client of ab", function()
    local app <close> = start(false)
    local out = run("ab", { "-q", "-k", "-n", "2000", "-c", "20",
      ("http://127.0.0.1:%d/a.txt"):format(app.addresses[1].port) })
    assert.equal("2000", out:match("Keep%-Alive requests: +(%d+)"), out)
    assert.equal("0", out:match("Failed requests: +(%d+)"))
  end)
end)
