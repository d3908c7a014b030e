-- tls_limits_spec.lua -- many handshakes of TLS, fast and slow ones, and what /metrics counts.

local certificates = require "support.certificates"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"
local tls_client = require "support.tls_client"

local PLAIN = { TIDEWIRE_TLS_CERTIFICATE = false, TIDEWIRE_TLS_KEY = false }

local APP = [[return {
  tls = { certificate = "server.pem", key = "server.key", TLS },
  limits = { LIMITS },
  http = { ["/"] = function() return "hello" end },
  endpoints = { ["/"] = { handle_message = function(conn, m) conn:send(m) end } },
}]]

local folder, authority, files

lazy_setup(function()
  folder = process.make_directory()
  authority = certificates.make_authority(folder, "authority")
  local certificate, key = certificates.make_signed(folder, "server", authority)
  files = {
    ["server.pem"] = process.read_file(certificate), ["server.key"] = process.read_file(key),
    ["ca.pem"] = process.read_file(authority.certificate),
  }
end)
lazy_teardown(function() process.remove_directory(folder) end)
after_each(stream.close_all)

local function app_of(limits, tls)
  return (APP:gsub("LIMITS", limits):gsub("TLS", tls or ""))
end

local function start(limits, tls)
  return server.start({
    app = app_of(limits, tls), files = files, environment = PLAIN,
    options = { "--admin", "127.0.0.1:0", "--log-level", "debug" },
  })
end

local function get(app, options)
  options = options or {}
  options.authority = authority.certificate
  return (tls_client.get(app, options))
end

--- The count of refused sockets with a reason.
local function refused(app, reason)
  local pattern = 'tidewire_refused_total{reason="' .. reason .. '"[^}]*} (%d+)'
  return tonumber(http.request(app.admin, "/metrics").body:match(pattern)) or 0
end

describe("handshakes of TLS", function()
  it("above limits.tls_handshake_rate are refused before they begin, and counted", function()
    local app <close> = start("tls_handshake_rate = { handshakes = 3, per = 3600 }")
    local ada = app:connect("/")
    assert.equal("hello", get(app).body)
    assert.equal("hello", get(app).body)
    for count = 1, 2 do
      assert.is_string(get(app).error)
      assert.equal(count, refused(app, "tls_handshake_rate"))
    end
    assert.is_truthy(
      app:wait_for_log('event=refused remote=127.0.0.1 why="Too many TLS handshakes.'))
    assert.equal("still here", (ada:ask("still here")))
    process.write_file(app.directory .. "/app.lua", app_of(""))
    reloads.good(app)
    assert.equal("hello", get(app).body)
  end)

  it("that are refused are counted by reason", function()
    local app <close> = start("", 'unknown_names = "refuse", client_ca = "ca.pem"')
    assert.is_string(get(app, { name = "unknown.example" }).error)
    assert.is_string(get(app).error)
    local noise = assert(stream.connect({ host = "127.0.0.1", port = app.addresses[1].port }))
    noise:write("\22\3\1\0\5hello")
    assert.is_truthy(noise:wait_end())
    assert.is_truthy(loop.wait_until(function()
      return refused(app, "server_name") == 1 and refused(app, "client_certificate") == 1
        and refused(app, "tls_handshake") == 1
    end))
  end)

  it("that are slow or silent hold nobody up", function()
    local app <close> = start("handshake_seconds = 600, connections = 500")
    local plain = { host = "127.0.0.1", port = app.addresses[1].port }
    local slow = {}
    for i = 1, 300 do
      slow[i] = assert(stream.connect(plain))
      if i % 2 == 0 then slow[i]:write("\22\3\1\2\0\1") end
    end
    for _ = 1, 3 do
      assert.equal("hello", get(app).body)
      for i = 2, 300, 2 do slow[i]:write("\0") end
    end
    assert.equal("hello", (app:connect("/"):ask("hello")))
    for i = 1, 300 do assert.is_nil(slow[i].ended) end
  end)
end)
