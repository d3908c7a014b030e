-- tls_clients_spec.lua -- the certificates of clients, and what scripts learn of TLS.

local certificates = require "support.certificates"
local cjson = require "cjson"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local tls_client = require "support.tls_client"

local PLAIN = { TIDEWIRE_TLS_CERTIFICATE = false, TIDEWIRE_TLS_KEY = false }

local APP = [[
local function shown(request)
  local tls = request.tls
  return tls and { version = tls.version, cipher = tls.cipher, server_name = tls.server_name,
    alpn = tls.alpn, resumed = tls.resumed, client = tls.client, secure = request.secure }
    or { none = true }
end
return {
  tls = $TLS,
  http = { ["/"] = function(request) return { body = shown(request) } end },
  endpoints = { ["/"] = {
    codec = "json",
    validate = function(request) return { seen = shown(request) } end,
    handle_message = function(conn) conn:send({ conn.seen, shown(conn.request) }) end,
  } },
}
]]

local folder, authority, stranger, files

--- A certificate of a client: the options of tls_client.
local function client(name, by, options)
  local certificate, key = certificates.make_signed(folder, name, by, options)
  return { authority = authority.certificate, certificate = certificate, key = key }
end

lazy_setup(function()
  folder = process.make_directory()
  authority = certificates.make_authority(folder, "authority")
  stranger = certificates.make_authority(folder, "stranger")
  local certificate, key = certificates.make_signed(folder, "server", authority)
  files = {
    ["server.pem"] = process.read_file(certificate), ["server.key"] = process.read_file(key),
    ["ca.pem"] = process.read_file(authority.certificate),
    ["other-ca.pem"] = process.read_file(stranger.certificate),
    ["text.pem"] = "text\n",
  }
end)
lazy_teardown(function() process.remove_directory(folder) end)

local function app_of(tls)
  return (APP:gsub("%$TLS",
    ('{ certificate = "server.pem", key = "server.key", %s }'):format(tls)))
end

local function start(tls, more)
  local options = { app = app_of(tls), files = files, environment = PLAIN,
    options = { "--log-level", "debug" } }
  for name, value in pairs(more or {}) do options[name] = value end
  return server.start(options)
end

local function no_certificate()
  return { authority = authority.certificate }
end

--- The client gets no answer, and the log says why.
local function refused(app, options, why)
  local result = tls_client.get(app, options)
  assert.is_string(result.error)
  assert.is_nil(result.status)
  assert.is_truthy(app:wait_for_log("event=tls_failed remote=127.0.0.1 why=[^\n]*" .. why))
end

describe("a client's certificate", function()
  it("is required with client_ca, and scripts see whose it is", function()
    local app <close> = start('client_ca = "ca.pem"')
    local options = client("ada", authority,
      { names = "DNS:ada.example,email:ada@example.com,IP:10.1.2.3,URI:urn:x:ada" })
    local seen = tls_client.get(app, options).json.client
    assert.equal("CN=ada", seen.subject)
    assert.equal("CN=authority", seen.issuer)
    assert.is_true(seen.verified)
    assert.same({ "ada.example", "ada@example.com", "10.1.2.3", "urn:x:ada" }, seen.names)
    local function openssl(what)
      return process.run("openssl", { args = { "x509", "-in", options.certificate, "-noout",
        table.unpack(what) } }).stdout
    end
    assert.equal(openssl({ "-serial" }):match("serial=0*(%x+)"), (seen.serial:gsub("^0+", "")))
    local printed = openssl({ "-fingerprint", "-sha256" }):match("=([%x:]+)")
    assert.equal((printed:gsub(":", ""):lower()), seen.fingerprint)
    local days = (seen.not_after - os.time()) / 86400
    assert.is_true(days > 29 and days <= 30)
    refused(app, no_certificate(), "the client has no certificate")
    refused(app, client("eve", stranger), "the client's certificate is refused: ")
    refused(app, client("late", authority, { days = -1 }), "certificate has expired")
  end)

  it("is seen with TLS 1.2 as well", function()
    local app <close> = start('client_ca = "ca.pem"')
    local options = client("ada", authority)
    options.maximum = "1.2"
    local result = tls_client.get(app, options)
    assert.equal("TLSv1.2", result.version)
    assert.equal("CN=ada", result.json.client.subject)
    local none = no_certificate()
    none.maximum = "1.2"
    refused(app, none, "the client has no certificate")
  end)

  it("may be missing where it is optional, but not wrong", function()
    local app <close> = start('client_ca = "ca.pem", client_verify = "optional"')
    assert.equal("CN=ada", tls_client.get(app, client("ada", authority)).json.client.subject)
    local result = tls_client.get(app, no_certificate())
    assert.equal(200, result.status)
    assert.is_nil(result.json.client)
    refused(app, client("eve", stranger), "the client's certificate is refused: ")
    local ada = app:connect("/")
    assert.equal(true, cjson.decode((ada:ask("{}")))[2].secure)
  end)

  it("is not asked for by default", function()
    local app <close> = start("")
    local result = tls_client.get(app, client("ada", authority))
    assert.is_nil(result.json.client)
  end)

  it("is known again in a session that is resumed", function()
    local app <close> = start('client_ca = "ca.pem"')
    for _, maximum in ipairs({ "1.2", "1.3" }) do
      local options = client("ada", authority)
      options.maximum, options.times = maximum, 3
      local _, all = tls_client.get(app, options)
      assert.is_false(all[1].json.resumed)
      for i = 2, 3 do
        assert.is_true(all[i].reused)
        assert.is_true(all[i].json.resumed)
        assert.equal("CN=ada", all[i].json.client.subject)
      end
    end
  end)

  --- Whether a session of before is resumed, and what openssl says.
  local function s_client(app, ...)
    local command = "printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | "
      .. "openssl s_client -ign_eof -connect 127.0.0.1:%d %s"
    local said = process.run("/bin/sh", {
      args = { "-c", command:format(app.addresses[1].port, table.concat({ ... }, " ")) },
    })
    local text = said.stdout .. said.stderr
    return text:find("Reused, TLSv1", 1, true) ~= nil, text
  end

  it("cannot be avoided by a session from before a reload", function()
    local app <close> = start("")
    for _, version in ipairs({ "-tls1_2", "-tls1_3" }) do
      process.write_file(app.directory .. "/app.lua", app_of(""))
      reloads.good(app)
      local session = folder .. "/session"
      s_client(app, version, "-sess_out", session)
      assert.is_true((s_client(app, version, "-sess_in", session)))
      process.write_file(app.directory .. "/app.lua", app_of('client_ca = "ca.pem"'))
      reloads.good(app)
      assert.is_false((s_client(app, version, "-sess_in", session)))
      local ada = client("ada", authority)
      s_client(app, version, "-sess_out", session, "-cert", ada.certificate, "-key", ada.key)
      assert.is_true((s_client(app, version, "-sess_in", session)))
      process.write_file(app.directory .. "/app.lua", app_of('client_ca = "other-ca.pem"'))
      reloads.good(app)
      assert.is_false((s_client(app, version, "-sess_in", session)))
    end
  end)

  it("needs authorities that can be read", function()
    for tls, message in pairs({
      ['client_ca = "none.pem"'] = "app.lua:8: tls.client_ca: cannot read none.pem: No such file",
      ['client_ca = "text.pem"'] = "tls.client_ca: text.pem has no certificates of authorities",
      ['client_ca = "ca.pem", client_verify = "maybe"'] =
        'tls.client_verify: expected "require" or "optional"',
      ['client_verify = "require"'] = "tls.client_verify: it needs tls.client_ca",
    }) do
      local code, log =
        server.launch_to_end({ app = app_of(tls), files = files, environment = PLAIN })
      assert.equal(2, code)
      assert.is_truthy(log:find(message, 1, true), message .. "\n" .. log)
    end
  end)
end)

describe("request.tls", function()
  it("tells what the client and the server have agreed on, in hooks and routes", function()
    local app <close> = start("")
    local options = { authority = authority.certificate, name = "chat.example",
      alpn = { "http/1.1" } }
    local seen = tls_client.get(app, options).json
    assert.equal("TLSv1.3", seen.version)
    assert.matches("^TLS_", seen.cipher)
    assert.equal("chat.example", seen.server_name)
    assert.equal("http/1.1", seen.alpn)
    assert.is_false(seen.resumed)
    local both = cjson.decode((app:connect("/"):ask("{}")))
    assert.equal("TLSv1.3", both[1].version)
    assert.same(both[1], both[2])
  end)

  it("is nil without TLS", function()
    local app <close> = server.start({ app = (APP:gsub("  tls = $TLS,\n", "")),
      environment = PLAIN })
    assert.equal("true", app:http("/").body:match('"none":(%a+)'))
  end)
end)
