-- tls_sessions_spec.lua -- sessions that clients resume, versions and ciphers by option, and OCSP
-- responses from files.

local certificates = require "support.certificates"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local tls_client = require "support.tls_client"

local PLAIN = { TIDEWIRE_TLS_CERTIFICATE = false, TIDEWIRE_TLS_KEY = false }

local folder, authority, files

lazy_setup(function()
  folder = process.make_directory()
  authority = certificates.make_authority(folder, "authority")
  files = {}
  for _, name in ipairs({ "first", "second" }) do
    local certificate, key = certificates.make_signed(folder, name, authority)
    files[name .. ".pem"] = process.read_file(certificate)
    files[name .. ".key"] = process.read_file(key)
  end
end)
lazy_teardown(function() process.remove_directory(folder) end)

local function app_of(name, tls)
  return ([[return {
  tls = { certificate = "%s.pem", key = "%s.key", %s },
  http = { ["/"] = function() return "hello" end },
  endpoints = { ["/"] = { handle_message = function(conn, m) conn:send(m) end } },
}]]):format(name, name, tls or "")
end

local function start(tls)
  return server.start({ app = app_of("first", tls), files = files, environment = PLAIN })
end

local function get(app, options)
  options = options or {}
  options.authority = authority.certificate
  return tls_client.get(app, options)
end

--- What the openssl program says of a handshake.
local function s_client(app, ...)
  local command = "printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | "
      .. "openssl s_client -ign_eof -connect 127.0.0.1:%d %s"
  local said = process.run("/bin/sh", {
    args = { "-c", command:format(app.addresses[1].port, table.concat({ ... }, " ")) },
  })
  return said.stdout .. said.stderr
end

describe("a session", function()
  it("is resumed after a reload with another certificate, on any worker", function()
    local app <close> = start()
    local session = folder .. "/session"
    for _, version in ipairs({ "-tls1_2", "-tls1_3" }) do
      process.write_file(app.directory .. "/app.lua", app_of("first"))
      reloads.good(app)
      assert.matches("New, TLSv1", s_client(app, version, "-sess_out", session), 1, true)
      process.write_file(app.directory .. "/app.lua", app_of("second"))
      reloads.good(app)
      assert.equal("second", get(app).subject)
      for _ = 1, 2 * app.workers do
        assert.matches("Reused, TLSv1", s_client(app, version, "-sess_in", session), 1, true)
      end
    end
  end)

  it("is resumed by the process that an upgrade starts", function()
    local pid_file, path = folder .. "/tidewire.pid", folder .. "/session"
    local function begin(options)
      return server.start({
        app = app_of("first"), files = files, environment = PLAIN, listen = options.listen,
        options = { "--pid-file", pid_file, table.unpack(options) },
      })
    end
    local old <close> = begin({})
    local versions = { "-tls1_2", "-tls1_3" }
    for _, version in ipairs(versions) do
      assert.matches("New, TLSv1", s_client(old, version, "-sess_out", path .. version), 1, true)
    end
    local address = ("%s:%d"):format(old.addresses[1].host, old.addresses[1].port)
    local new <close> = begin({ "--upgrade", listen = { address } })
    assert.equal(0, old.process:wait_exit())
    local newest <close> = begin({ "--upgrade", listen = { address } })
    assert.equal(0, new.process:wait_exit())
    for _, version in ipairs(versions) do
      local said = s_client(newest, version, "-sess_in", path .. version)
      assert.matches("Reused, TLSv1", said, 1, true)
    end
  end)

  it("carries data as a new one does", function()
    local app <close> = start()
    for _, maximum in ipairs({ "1.2", "1.3" }) do
      local _, all = get(app, { maximum = maximum, times = 4 })
      for i, result in ipairs(all) do
        assert.equal("hello", result.body)
        assert.equal(i > 1, result.reused)
      end
    end
  end)

  it("of a ticket that another made is a new one", function()
    local session, one <close> = folder .. "/session", start()
    local other <close> = start()
    s_client(one, "-sess_out", session)
    assert.matches("New, TLSv1", s_client(other, "-sess_in", session), 1, true)
  end)
end)

describe("versions and ciphers", function()
  it("are those of the options", function()
    local app <close> = start('min_version = "1.3", cipher_suites = "TLS_CHACHA20_POLY1305_SHA256"')
    local result = get(app)
    assert.equal("TLSv1.3", result.version)
    assert.equal("TLS_CHACHA20_POLY1305_SHA256", result.cipher)
    assert.is_string(get(app, { maximum = "1.2" }).error)
  end)

  it("of TLS 1.2 are those of the options, also others than the server encrypts itself", function()
    local list = "ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
    local app <close> = start(('ciphers = "%s"'):format(list))
    for cipher in list:gmatch("[^:]+") do
      local result = get(app, { maximum = "1.2", ciphers = cipher, times = 2 })
      assert.equal(cipher, result.cipher)
      assert.equal("hello", result.body)
    end
    assert.is_string(get(app, { maximum = "1.2", ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305" }).error)
  end)

  it("are checked at the start", function()
    for tls, message in pairs({
      ['min_version = "1.1"'] = 'tls.min_version: expected "1.2" or "1.3", got string "1.1"',
      ['ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:BOGUS"'] =
        'app.lua:2: tls.ciphers: OpenSSL has no cipher "BOGUS"',
      ['cipher_suites = "TLS_AES_128_GCM_SHA256:TLS_BOGUS"'] =
        'app.lua:2: tls.cipher_suites: OpenSSL has no cipher "TLS_BOGUS"',
      ['ciphers = "HIGH:!HIGH"'] = 'tls.ciphers: no cipher remains of "HIGH:!HIGH"',
    }) do
      local code, log = server.launch_to_end({
        app = app_of("first", tls), files = files, environment = PLAIN,
      })
      assert.equal(2, code)
      assert.is_truthy(log:find(message, 1, true), message .. "\n" .. log)
    end
  end)
end)

describe("an OCSP response", function()
  --- What a client gets stapled.
  local function stapled(app)
    return s_client(app, "-status"):match("OCSP response: ([^\n]*)"),
      s_client(app, "-status"):find("OCSP Response Status: successful", 1, true) ~= nil
  end

  local function write(app, options)
    local path = certificates.make_ocsp(folder, "first", authority, options)
    process.write_file(app.directory .. "/first.der", process.read_file(path))
  end

  it("from a file is stapled, and read anew by a reload", function()
    files["first.der"] = process.read_file(certificates.make_ocsp(folder, "first", authority))
    local app <close> = start('ocsp = "first.der"')
    assert.is_true(select(2, stapled(app)))
    assert.is_truthy(app:wait_for_log('info event=ocsp_response subject="CN=first" expires='))
    write(app, { days = -1 })
    reloads.good(app)
    assert.equal("no response sent", (stapled(app)))
    assert.is_truthy(app:wait_for_log(
      'warn event=ocsp_response .*why="it has expired: clients do not get it"'))
    write(app, { status = "REVOKED" })
    reloads.good(app)
    assert.is_truthy(app:wait_for_log("warn event=ocsp_response .*revoked"))
    write(app)
    reloads.good(app)
    assert.is_true(select(2, stapled(app)))
  end)

  it("is not sent by default", function()
    local app <close> = start()
    assert.equal("no response sent", (stapled(app)))
  end)

  it("must be a response about the certificate", function()
    files["second.der"] = process.read_file(certificates.make_ocsp(folder, "second", authority))
    files["text.der"] = "text\n"
    for name, message in pairs({
      second = "app.lua:2: tls.ocsp: second.der is about another certificate",
      text = "tls.ocsp: text.der has no OCSP response in DER",
      none = "tls.ocsp: cannot read none.der: No such file",
    }) do
      local code, log = server.launch_to_end({
        app = app_of("first", ('ocsp = "%s.der"'):format(name)), files = files, environment = PLAIN,
      })
      assert.equal(2, code)
      assert.is_truthy(log:find(message, 1, true), message .. "\n" .. log)
    end
  end)
end)
