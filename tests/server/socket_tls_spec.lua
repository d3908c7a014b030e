-- socket_tls_spec.lua -- TLS of sockets: `tw.socket.connect`, sslhandshake, `require "ssl"`. The
-- other side is openssl's s_server, which sends back each line in reverse (-rev).

local cjson = require "cjson"
local certificates = require "support.certificates"
local loop = require "support.loop"
local peer = require "support.peer"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

local APP = [[
local tw = require "tidewire"
local socket, ssl = require "socket", require "ssl"
local kept = {}

local function texts(...)
  local list = tw.array()
  for i = 1, select("#", ...) do list[i] = tostring((select(i, ...))) end
  return list
end

return {
  endpoints = { ["/"] = {
    codec = "json",
    handle_message = function(conn, source)
      local f = assert(load(source, "=run", "t", setmetatable({ tw = tw, socket = socket,
        ssl = ssl, kept = kept }, { __index = _G })))
      conn:send(texts(select(2, xpcall(f, function(err) return tostring(err) end))))
    end,
  } },
}
]]

describe("TLS of a socket", function()
  local folder, authority, app, ada, children

  local function free_port()
    local handle = uv.new_tcp()
    handle:bind("127.0.0.1", 0)
    local port = handle:getsockname().port
    handle:close()
    uv.run("nowait")
    return port
  end

  --- Starts a program that has a server on the port, and waits until it listens.
  local function start(program, port, args, output)
    local child = process.start(program, { args = args, stdout = output, stderr = output })
    children[#children + 1] = child
    local accepts = loop.wait_until(function()
      local source = stream.connect({ host = "127.0.0.1", port = port })
      if source then source:close() end
      return source
    end)
    assert(accepts, "openssl s_server does not listen")
    return child
  end

  --- A server with a certificate, and its port.
  local function serve(certificate, key, ...)
    local port = free_port()
    start("openssl", port, { "s_server", "-quiet", "-rev", "-accept", "127.0.0.1:" .. port, "-cert",
      certificate, "-key", key, ... }, folder .. "/s_server")
    return port
  end

  --- A server that writes what it gets to the file, as a process, and its port.
  local function collect(certificate, key, file)
    local port = free_port()
    local command = ("mkfifo %s.in && exec openssl s_server -quiet -accept 127.0.0.1:%d -cert %s "
      .. "-key %s 0<>%s.in 2>%s.errors"):format(file, port, certificate, key, file, file)
    return start("sh", port, { "-c", command }, file), port
  end

  local function run(source, values)
    source = source:gsub("%$(%u+)", values)
    return cjson.decode((ada:ask(cjson.encode(source), 60)))
  end

  setup(function()
    folder, children = process.make_directory(), {}
    authority = certificates.make_authority(folder, "authority")
    app = server.start({ app = APP, environment = { SSL_CERT_FILE = authority.certificate } })
    ada = app:connect("/")
  end)

  teardown(function()
    app:stop()
    for _, child in ipairs(children) do
      child:signal("sigkill")
      child:wait_exit()
    end
    process.remove_directory(folder)
  end)

  it("checks the certificate by the system's authorities, and the name", function()
    local port = serve(certificates.make_signed(folder, "localhost", authority))
    local values = { PORT = tostring(port) }
    assert.are.same({ "cba", "yx" }, run([[
      local s <close> = assert(tw.socket.connect("127.0.0.1", $PORT, { tls = true, timeout = 20 }))
      s:send("abc\n")
      local one = s:receive()
      s:send("xy\n")
      return one, (s:receive())]], values))
    local list = run([[
      return tw.socket.connect("127.0.0.1", $PORT, { tls = { server_name = "other.example" } })]],
      values)
    assert.are.equal("nil", list[1])
    assert.matches("^certificate: hostname mismatch", list[2]:lower())
  end)

  it("refuses a certificate that no authority has signed, unless verify is false", function()
    local port = serve(certificates.make(folder, "own"))
    local values = { PORT = tostring(port), CA = folder .. "/own.pem" }
    local list = run([[return tw.socket.connect("127.0.0.1", $PORT, { tls = true })]], values)
    assert.matches("^certificate: self%-signed certificate", list[2])
    assert.are.same({ "cba" }, run([[
      local s <close> = assert(tw.socket.connect("127.0.0.1", $PORT, { tls = { verify = false } }))
      s:send("abc\n")
      return (s:receive())]], values))
    assert.are.same({ "cba" }, run([[
      local s <close> = assert(tw.socket.connect("127.0.0.1", $PORT, { tls = { ca = "$CA",
        server_name = "localhost" } }))
      s:send("abc\n")
      return (s:receive())]], values))
    list = run([[return tw.socket.connect("127.0.0.1", $PORT, { tls = { ca = "/nonexistent" } })]],
      values)
    assert.matches("^tls.ca: cannot use /nonexistent", list[2])
  end)

  it("sends a certificate of ours, and agrees on a protocol", function()
    local certificate, key = certificates.make_signed(folder, "server", authority)
    local port = serve(certificate, key, "-Verify", "1", "-verify_return_error", "-CAfile",
      authority.certificate, "-alpn", "two,one")
    local mine, my_key = certificates.make_signed(folder, "ada", authority)
    local values = { PORT = tostring(port), CERT = mine, KEY = my_key }
    assert.are.same({ "cba" }, run([[
      local s <close> = assert(tw.socket.connect("127.0.0.1", $PORT, { tls = { certificate =
        "$CERT",
        key = "$KEY", alpn = { "one", "three" } } }))
      s:send("abc\n")
      return (s:receive())]], values))
    local list = run([[
      local s <close>, problem = tw.socket.connect("127.0.0.1", $PORT, { tls = true })
      if not s then return problem end
      s:send("abc\n")
      return (select(2, s:receive()))]], values)
    assert.matches("^TLS: .*certificate", list[1])
    assert.are.same({ "one" }, run([[
      local s <close> = ssl.wrap(socket.connect("127.0.0.1", $PORT), { mode = "client",
        protocol = "any",
        certificate = "$CERT", key = "$KEY", alpn = "one" })
      assert(s:dohandshake())
      return s:getalpn()]], values))
  end)

  it("says that the server does not speak it, or ends the connection, or is silent", function()
    local echo = app.addresses[1].port
    local values = { PORT = tostring(echo) }
    if not os.getenv("TIDEWIRE_TEST_TLS") then
      assert.matches("^TLS: the server does not speak it$", run([[
        return tw.socket.connect("127.0.0.1", $PORT, { tls = true })]], values)[2])
    end
    local silent = uv.new_tcp()
    silent:bind("127.0.0.1", 0)
    silent:listen(10, function() end) -- it accepts none
    values.PORT = tostring(silent:getsockname().port)
    assert.are.same({ "nil", "timeout" }, run([[
      return tw.socket.connect("127.0.0.1", $PORT, { tls = true, timeout = 0.2 })]], values))
    silent:close()
    uv.run("nowait")
  end)

  it("begins by sslhandshake, which checks unless it is told not to", function()
    local port = serve(certificates.make(folder, "shaken"))
    local values = { PORT = tostring(port) }
    local list = run([[
      local s <close> = socket.connect("127.0.0.1", $PORT)
      return s:sslhandshake()]], values)
    assert.matches("^certificate: self%-signed certificate", list[2])
    assert.are.same({ "true", "cba" }, run([[
      local s <close> = socket.connect("127.0.0.1", $PORT)
      local ok = s:sslhandshake(nil, "shaken", false)
      s:send("abc\n")
      return ok, (s:receive())]], values))
  end)

  it("is in LuaSec's shape", function()
    local port = serve(certificates.make(folder, "sec"))
    local values = { PORT = tostring(port) }
    assert.are.same({ "true", "cba", "TLSv1.3", "CN=sec", "wantread", "true", "TLSv1.2" }, run([[
      local function open(protocol)
        local plain = socket.tcp()
        plain:connect("127.0.0.1", $PORT)
        local s = assert(ssl.wrap(plain, { mode = "client", protocol = protocol, verify = "none",
          options = "all" }))
        s:sni("sec")
        return s, s:dohandshake()
      end
      local s, ok = open("any")
      s:send("abc\n")
      local line = s:receive()
      s:settimeout(0.05)
      local _, problem = s:receive()
      local version, subject = s:info("protocol"), s:getpeercertificate().subject
      s:close()
      local old, old_ok = open("tlsv1_2")
      local old_version = old:info("protocol")
      old:close()
      return ok, line, version, subject, problem, old_ok, old_version]], values))
    local list = run([[
      local s <close> = ssl.wrap(socket.connect("127.0.0.1", $PORT), { mode = "client",
        verify = "peer" })
      return s:dohandshake()]], values)
    assert.are.equal("false", list[1])
    assert.matches("self%-signed certificate", list[2])
    assert.matches("invalid protocol", run([[
      return ssl.wrap(socket.connect("127.0.0.1", $PORT), { mode = "client", protocol =
        "sslv3" })]],
      values)[2])
  end)

  it("passes nothing before the handshake has ended", function()
    local other <close> = peer.start()
    local values = { PORT = tostring(other.port) }
    assert.are.same({ "nil", "closed", "nil", "closed", "wantread", "closed" }, run([[
      local s <close> = ssl.wrap(socket.connect("127.0.0.1", $PORT), { mode = "client" })
      local sent, problem = s:send("say plain\\n\n")
      local got, other = s:receive()
      s:settimeout(0)
      return sent, problem, got, other, select(2, s:dohandshake()), (select(2, s:send("x")))]],
      values))
    assert.are.same({ "nil", "TLS: the handshake has not ended", "0" }, run([[
      local s <close> = socket.connect("127.0.0.1", $PORT)
      tw.spawn(function() s:sslhandshake() end)
      tw.sleep(0)
      return s:send("x")]], values))
  end)

  it("sends what it has taken, though the script sends no more", function()
    local certificate, key = certificates.make(folder, "slow")
    local file = folder .. "/taken"
    local child, port = collect(certificate, key, file)
    run([[
      kept.slow = assert(tw.socket.connect("127.0.0.1", $PORT, { tls = { verify = false } }))
      kept.slow:settimeout(0)]], { PORT = tostring(port) })
    child:signal("sigstop")
    local total = run([[
      local piece, total = ("x"):rep(100000), 0
      repeat
        local last, _, partial = kept.slow:send(piece)
        total = total + (last or partial)
      until not last
      return total]], {})[1]
    child:signal("sigcont")
    loop.ask_until(function() return tostring(#process.read_file(file)) end, total)
    assert.are.equal(total, tostring(#process.read_file(file)))
    run("kept.slow:close()", {})
  end)

  it("carries much in both directions", function()
    local port = serve(certificates.make(folder, "much"))
    assert.are.same({ "true" }, run([[
      local s <close> = assert(tw.socket.connect("127.0.0.1", $PORT, { tls = { verify = false } }))
      for i = 1, 20 do
        local line = ("%d:"):format(i) .. ("x"):rep(15000)
        s:send(line .. "\n")
        if s:receive() ~= line:reverse() then return i end
      end
      return true]], { PORT = tostring(port) }))
  end)
end)
