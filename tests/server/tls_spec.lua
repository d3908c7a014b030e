-- tls_spec.lua -- TLS: its options, which clients connect, and certificates that change while
-- connections stay.

local certificates = require "support.certificates"
local cjson = require "cjson"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local tw = require "tidewire"
return {
  tls = { certificate = "server.pem", key = "server.key" },
  endpoints = { ["/"] = {
    validate = function(request) return { seen = request.secure } end,
    handle_message = function(conn, message)
      if message == "secure" then message = tostring(conn.secure and conn.seen) end
      conn:send(message)
    end,
  } },
  http = { ["/secure"] = function(request) return tostring(request.secure) end },
}
]]

-- The test's own certificates, whatever the run gives to servers.
local PLAIN = { TIDEWIRE_TLS_CERTIFICATE = false, TIDEWIRE_TLS_KEY = false }

local folder

lazy_setup(function() folder = process.make_directory() end)
lazy_teardown(function() process.remove_directory(folder) end)
after_each(stream.close_all)

--- A certificate and its key as texts.
local function make(name, options)
  local certificate, key = certificates.make(folder, name, options)
  return process.read_file(certificate), process.read_file(key)
end

local function files_of(certificate, key)
  return { ["server.pem"] = certificate, ["server.key"] = key }
end

local function start(options)
  options.environment = options.environment or PLAIN
  options.app = options.app or APP
  return server.start(options)
end

--- Replaces files in the app's folder.
local function write(app, certificate, key)
  process.write_file(app.directory .. "/server.pem", certificate)
  process.write_file(app.directory .. "/server.key", key)
end

--- The subject of the certificate that a new connection gets.
local function subject(app)
  local source = assert(stream.connect(app.addresses[1]))
  local name = source.handle.session:getpeercertificate():subject()[1].value
  source:close()
  return name
end

describe("with TLS", function()
  it("messages and requests work, conn.secure and request.secure are true", function()
    local app <close> = start({ files = files_of(make("first")) })
    assert.is_true(app.addresses[1].tls)
    local ada = app:connect("/")
    assert.equal("true", (ada:ask("secure")))
    assert.equal("true", app:http("/secure").body)
    assert.equal(1,
      #app:log_lines('event=certificate subject="CN=first" expires=%d%d%d%d%-%d%d%-%d%dT'))
    for _, size in ipairs({ 1, 125, 126, 16383, 16384, 16385, 65536, 300000, 1 << 20 }) do
      local text = ("x"):rep(size)
      assert.is_true(ada:ask(text) == text, size)
    end
  end)

  it("a client with its authority verifies the certificate", function()
    local certificate, key = make("first")
    local app <close> = start({ files = files_of(certificate, key) })
    local authority = app.directory .. "/server.pem"
    assert(stream.connect(app.addresses[1], { authority = authority }))
    certificates.make(folder, "other")
    local source, why = stream.connect(app.addresses[1], { authority = folder .. "/other.pem" })
    assert.is_nil(source)
    assert.matches("certificate verify failed", why)
  end)

  it("keys of other kinds are as good", function()
    for _, key in ipairs({ "-newkey rsa:2048", "-newkey ed25519" }) do
      local app <close> = start({ files = files_of(make("kind", { key = key })) })
      assert.equal("true", (app:connect("/"):ask("secure")))
    end
  end)

  it("TLS 1.2 and 1.3 are spoken, and nothing older", function()
    local app <close> = start({ files = files_of(make("first")) })
    for protocol, spoken in pairs({ tlsv1_3 = "TLSv1.3", tlsv1_2 = "TLSv1.2" }) do
      local source = assert(stream.connect(app.addresses[1], { protocol = protocol }))
      assert.equal(spoken, source.handle.session:info("protocol"))
    end
    assert.is_nil(stream.connect(app.addresses[1], { protocol = "tlsv1_1" }))
  end)

  it("a client that sends plain HTTP gets advice, and no connection", function()
    local app <close> = start({ files = files_of(make("first")) })
    local plain = { host = "127.0.0.1", port = app.addresses[1].port }
    local response = http.request(plain, "/secure")
    assert.equal(400, response.status)
    assert.matches("https://", response.body, 1, true)
    local head = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      .. "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    assert.equal(400, http.raw(plain, head).status)
  end)

  it("a client that sends neither TLS nor HTTP is closed, and counted", function()
    local app <close> =
      start({ files = files_of(make("first")), options = { "--admin", "127.0.0.1:0" } })
    local plain = { host = "127.0.0.1", port = app.addresses[1].port }
    local noise = {
      "\0\1\2\3", "\22\3\1\0\5hello", ("\255"):rep(70000), "\22\3\1\255\255" .. ("\1"):rep(70000),
    }
    for _, bytes in ipairs(noise) do
      local source = assert(stream.connect(plain))
      source:write(bytes)
      assert.is_truthy(source:wait_end())
    end
    app:connect("/")
    local stats = cjson.decode(http.request(app.admin, "/stats").body)
    assert.equal(4, stats.tls_failures)
    assert.equal(1, stats.tls_handshakes)
    local days = (stats.certificate_expires_at - os.time()) / 86400
    assert.is_true(days > 29 and days <= 30, tostring(days))
    assert.matches("\ntidewire_certificate_expires_seconds "
      .. math.tointeger(stats.certificate_expires_at),
      http.request(app.admin, "/metrics").body, 1, true)
  end)

  it("a handshake that does not finish is closed after limits.handshake_seconds", function()
    local app <close> = start({
      files = files_of(make("first")),
      app = (APP:gsub("endpoints = ", "limits = { handshake_seconds = 0.2 }, %0", 1)),
    })
    local source = assert(stream.connect({ host = "127.0.0.1", port = app.addresses[1].port }))
    source:write("\22\3\1\2\0\1")
    assert.is_truthy(source:wait_end())
    local silent = assert(stream.connect(app.addresses[1])) -- TLS, and no request
    assert.is_truthy(silent:wait_end())
  end)

  --- The openssl program's output for a request.
  local function s_client(app, ...)
    local command = "printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | "
      .. "openssl s_client -ign_eof -connect 127.0.0.1:%d %s"
    return process.run("/bin/sh", {
      args = { "-c", command:format(app.addresses[1].port, table.concat({ ... }, " ")) },
    })
  end

  it("a client that comes back resumes its session, whichever worker it meets", function()
    local app <close> = start({ files = files_of(make("first")) })
    local session = folder .. "/session"
    for _, version in ipairs({ "-tls1_2", "-tls1_3" }) do
      local first = s_client(app, version, "-sess_out", session)
      assert.matches("New, TLSv1", first.stdout, 1, true)
      for _ = 1, 2 * app.workers do
        assert.matches("Reused, TLSv1", s_client(app, version, "-sess_in", session).stdout, 1, true)
      end
    end
  end)

  it("ALPN selects HTTP/1.1, and refuses a client that offers only other protocols", function()
    local app <close> = start({ files = files_of(make("first")) })
    assert.matches("ALPN protocol: http/1.1", s_client(app, "-alpn", "h2,http/1.1").stdout, 1, true)
    local refused = s_client(app, "-alpn", "h2")
    assert.equal(1, refused.code)
    -- RFC 7301 section 3.2; not every OpenSSL has a text for it
    assert.matches("alert number 120", refused.stdout .. refused.stderr, 1, true)
  end)

  it("Unix sockets and the admin address stay in plain", function()
    local app <close> = start({
      files = files_of(make("first")),
      listen = { "127.0.0.1:0", "unix:app.sock" },
      options = { "--admin", "127.0.0.1:0" },
    })
    local address = { path = app.directory .. "/app.sock" }
    assert.equal("false", http.request(address, "/secure").body)
    assert.equal(200, http.request(app.admin, "/readyz").status)
  end)

  it("a client that does not read is closed at its limit, and the others are served", function()
    local app <close> = start({ files = files_of(make("first")), app = [[
      return {
        tls = { certificate = "server.pem", key = "server.key" },
        endpoints = { ["/"] = {
          max_backlog = "1M",
          handle_message = function(conn, message)
            if message ~= "much" then return conn:send(message) end
            repeat local ok = conn:send(("x"):rep(65536)) until not ok
          end,
          on_close = function(conn, code) require("record")("close", code) end,
        } },
      }
    ]] })
    local slow, ada = app:connect("/", { receive_buffer = 4096 }), app:connect("/")
    slow.stream:pause()
    slow:send_text("much")
    assert.equal(1008, app:wait_event("close")[2])
    assert.equal("hello", (ada:ask("hello")))
  end)

  it("a client that has reset its connection is logged with its address", function()
    local options = { "--log-level", "debug" }
    local app <close> = start({ files = files_of(make("first")), options = options, app = [[
      return {
        tls = { certificate = "server.pem", key = "server.key" },
        endpoints = { ["/"] = {} },
      }
    ]] })
    local peer = assert(stream.connect({ host = "127.0.0.1", port = app.addresses[1].port }))
    peer:write("\22\3\1" .. ("x"):rep(1000)) -- a record of a handshake, by its first bytes
    assert.is_true(peer:flush())
    peer:abort()
    assert.is_truthy(app:wait_for_log('event=tls_failed remote=127.0.0.1 why='))
  end)

  it("handles messages that a client sent before close_notify, however busy its hook is", function()
    local app <close> = start({ workers = 1, files = files_of(make("first")), app = [[
      local record, tw = require "record", require "tidewire"
      local go_on
      return {
        tls = { certificate = "server.pem", key = "server.key" },
        endpoints = { ["/"] = {
          handler_timeout = 60,
          handle_message = function(conn, message)
            if message == "block" then -- the worker reads nothing until all was sent
              record("blocks")
              repeat local file = io.open("sent") until file
            elseif message == "wait" then
              tw.await(function(done) go_on = done end)
            end
            record("message", message)
          end,
          on_close = function() record("close") end,
        } },
        http = { ["/go"] = function() go_on() return 204 end },
      }
    ]] })
    local ada = app:connect("/")
    ada:send_text("block")
    app:wait_event("blocks")
    ada:send_text("wait")
    for index = 1, 200 do ada:send_text("message " .. index) end
    assert.is_true(ada.stream:flush())
    ada.stream:close() -- which says so (close_notify) first
    process.write_file(app.directory .. "/sent", "")
    assert.equal(204, app:http("/go").status)
    app:wait_event("close")
    assert.equal(202, #app:events("message"))
    assert.equal("message 200", app:events("message")[202][2])
  end)
end)

describe("the files of TLS", function()
  --- What is said, and that nothing was started.
  local function refused(options)
    options.environment = options.environment or PLAIN
    local code, log = server.launch_to_end(options)
    assert.equal(2, code, log)
    assert.is_nil(log:find("event=listening", 1, true), log)
    return log
  end

  local function app_with(tls)
    return "return {\n  tls = " .. tls .. ',\n  endpoints = { ["/"] = {} },\n}'
  end

  it("are refused with a sentence and a line of the app where they cannot be used", function()
    local certificate, key = make("first")
    local _, other_key = make("other")
    os.execute(("openssl pkey -in '%s/first.key' -aes256 -passout pass:secret -out '%s/locked.key'")
      :format(folder, folder))
    local files = {
      ["cert.pem"] = certificate, ["key.pem"] = key, ["other.pem"] = other_key, ["empty.pem"] = "",
      ["text.pem"] = "text\n",
      ["locked.pem"] = process.read_file(folder .. "/locked.key"),
      ["cut.pem"] = certificate:sub(1, 200),
    }
    for tls, message in pairs({
      ['{ certificate = "none.pem", key = "key.pem" }'] =
        "tls.certificate: cannot read none.pem: No such file",
      ['{ certificate = "cert.pem", key = "none.pem" }'] = "cannot read none.pem: No such file",
      ['{ certificate = ".", key = "key.pem" }'] = "cannot read .: Is a directory",
      ['{ certificate = "empty.pem", key = "key.pem" }'] = "cannot read empty.pem: it is empty",
      ['{ certificate = "text.pem", key = "key.pem" }'] =
        "text.pem has no certificate: a file in PEM is expected",
      ['{ certificate = "cut.pem", key = "key.pem" }'] =
        "cut.pem is not a usable certificate",
      ['{ certificate = "cert.pem", key = "text.pem" }'] =
        "text.pem has no key: a file in PEM is expected",
      ['{ certificate = "cert.pem" }'] = "cert.pem has no key",
      ['{ certificate = "cert.pem", key = "other.pem" }'] =
        "the key in other.pem does not belong to the certificate",
      ['{ certificate = "cert.pem", key = "locked.pem" }'] =
        "the key in locked.pem is encrypted with a passphrase",
      ['{ key = "key.pem" }'] = "tls.key: a key needs its certificate",
      ["{}"] = 'tls: expected { certificate = "cert.pem", key = "key.pem" }',
      ['{ certficate = "cert.pem" }'] = 'did you mean "certificate"?',
      ['{ certificate = 7 }'] = "tls.certificate: expected a text",
    }) do
      local log = refused({ app = app_with(tls), files = files })
      assert.is_truthy(log:find(message, 1, true), tls .. "\n" .. log)
      assert.is_truthy(log:find("app.lua:2: ", 1, true), tls .. "\n" .. log)
    end
  end)

  it("may come from the environment and the command line, which override the app", function()
    make("ours")
    make("theirs")
    local ours, key = folder .. "/ours.pem", folder .. "/ours.key"
    local app =
      'return { endpoints = { ["/"] = { handle_message = function(conn, m) conn:send(m) end } } }'
    local with_tls =
      app:gsub("endpoints", 'tls = { certificate = "theirs.pem", key = "theirs.key" }, %0', 1)
    local by_environment = { TIDEWIRE_TLS_CERTIFICATE = ours, TIDEWIRE_TLS_KEY = key }
    local by_options = { "--tls-certificate", ours, "--tls-key=" .. key }
    local files = {
      ["theirs.pem"] = process.read_file(folder .. "/theirs.pem"),
      ["theirs.key"] = process.read_file(folder .. "/theirs.key"),
    }
    for _, way in ipairs({
      { app = app, environment = by_environment },
      { app = app, environment = PLAIN, options = by_options },
      { app = with_tls, environment = by_environment, files = files },
      { app = with_tls, options = by_options, files = files,
        environment = {
          TIDEWIRE_TLS_CERTIFICATE = folder .. "/theirs.pem",
          TIDEWIRE_TLS_KEY = folder .. "/theirs.key",
        } },
    }) do
      local running <close> = start(way)
      assert.equal("ours", subject(running))
    end
    local log = refused({
      app = app, environment = { TIDEWIRE_TLS_CERTIFICATE = "/none.pem", TIDEWIRE_TLS_KEY = key },
    })
    assert.matches("TIDEWIRE_TLS_CERTIFICATE: cannot read /none.pem: No such file", log, 1, true)
    log = refused({ app = app, environment = PLAIN, options = { "--tls-key", key } })
    assert.matches("--tls-key: a key needs its certificate", log, 1, true)
  end)

  it("may be one file, and `tls = false` is none", function()
    local certificate, key = make("first")
    local files = { ["both.pem"] = key .. certificate }
    local app <close> = start({ app = app_with('{ certificate = "both.pem" }'), files = files })
    assert.equal("first", subject(app))
    local plain <close> = start({ app = app_with("false") })
    assert.is_nil(plain.addresses[1].tls)
    plain:connect("/")
  end)

  it("are looked at by `tidewire check`", function()
    local good = server.run({ "check", "app.lua" }, { directory = folder, environment = {} })
    assert.equal(2, good.code)
    process.write_file(folder .. "/app.lua", APP)
    local missing = server.run({ "check", "app.lua" }, { directory = folder })
    assert.equal(2, missing.code)
    assert.matches("app.lua:3: tls.certificate: cannot read server.pem", missing.stderr, 1, true)
    certificates.make(folder, "server")
    assert.equal(0, server.run({ "check", "app.lua" }, { directory = folder }).code)
  end)

  it("are warned of when clients do not accept the certificate, or soon will not", function()
    for days, message in pairs({ [-1] = "it has expired", [3] = "it expires soon" }) do
      local certificate, key = make("old", { days = days })
      local app <close> = start({ files = files_of(certificate, key) })
      assert.equal(1, #app:log_lines('warn event=certificate subject="CN=old" .*' .. message))
    end
  end)
end)

describe("a reload", function()
  it("reads the certificate again: new connections get it, open ones stay", function()
    local app <close> = start({ files = files_of(make("first")) })
    local ada = app:connect("/")
    assert.equal("first", subject(app))
    write(app, make("second"))
    assert.equal("first", subject(app)) -- before the first new handshake
    reloads.good(app)
    for _ = 1, 4 * app.workers do assert.equal("second", subject(app)) end
    assert.equal("true", (ada:ask("secure")))
    assert.equal("true", (app:connect("/"):ask("secure")))
    assert.equal(1, #app:log_lines('event=certificate subject="CN=second"'))
  end)

  it("with files that cannot be used changes nothing, and says why", function()
    local certificate, key = make("first")
    local other = make("other")
    local app <close> =
      start({ files = files_of(certificate, key), options = { "--admin", "127.0.0.1:0" } })
    local ada = app:connect("/")
    for _, files in ipairs({ { other, key }, { "", key }, { certificate, "text" } }) do
      write(app, table.unpack(files))
      reloads.bad(app)
      assert.equal("first", subject(app))
      assert.equal("true", (ada:ask("secure")))
    end
    assert.equal(200, http.request(app.admin, "/readyz").status)
    assert.equal(3, cjson.decode(http.request(app.admin, "/stats").body).reload_failures)
    assert.is_truthy(app:wait_for_log("event=reload_failed .*does not belong to the certificate"))
    write(app, certificate, key)
    reloads.good(app)
    assert.equal("first", subject(app))
  end)

  it("switches TLS on and off for new connections", function()
    local app <close> =
      start({ app = (APP:gsub("  tls = [^\n]*\n", "")), files = files_of(make("first")) })
    local ada = app:connect("/")
    local plain = app.addresses[1]
    local secured = { host = plain.host, port = plain.port, tls = true }
    process.write_file(app.directory .. "/app.lua", APP)
    reloads.good(app)
    assert.equal("true", http.request(secured, "/secure").body)
    assert.equal("false", (ada:ask("secure")))
    assert.equal(400, http.request(plain, "/secure").status)
    process.write_file(app.directory .. "/app.lua", (APP:gsub("  tls = [^\n]*\n", "")))
    reloads.good(app)
    assert.equal("false", http.request(plain, "/secure").body)
    assert.is_truthy(app:wait_for_log("warn event=certificate .*new connections are not encrypted"))
  end)

  it("under a storm of clients loses no handshake", function()
    local first, first_key = make("first")
    local second, second_key = make("second")
    local app <close> = start({ files = files_of(first, first_key) })
    local peers = {}
    for round = 1, 6 do
      if round % 2 == 1 then write(app, second, second_key) else write(app, first, first_key) end
      app:signal("sighup")
      for _ = 1, 20 do
        local name = subject(app)
        assert.is_true(name == "first" or name == "second")
        peers[#peers + 1] = app:connect("/")
      end
      assert.is_truthy(loop.wait_until(function()
        return #app:log_lines("event=reloaded") == round
      end))
    end
    for index, peer in ipairs(peers) do
      assert.equal("hello " .. index, (peer:ask("hello " .. index)))
    end
  end)
end)
