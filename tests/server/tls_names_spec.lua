-- tls_names_spec.lua -- several certificates, of which the server name that a client asks for
-- chooses one (SNI).

local certificates = require "support.certificates"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local tls_client = require "support.tls_client"

local PLAIN = { TIDEWIRE_TLS_CERTIFICATE = false, TIDEWIRE_TLS_KEY = false }

local folder, authority

lazy_setup(function()
  folder = process.make_directory()
  authority = certificates.make_authority(folder, "authority")
end)
lazy_teardown(function() process.remove_directory(folder) end)

--- The files of certificates, by their names: common name -> alternative names.
local function make(list)
  local files = {}
  for name, names in pairs(list) do
    local certificate, key =
      certificates.make_signed(folder, name, authority, { names = names })
    files[name .. ".pem"] = process.read_file(certificate)
    files[name .. ".key"] = process.read_file(key)
  end
  return files
end

local function app_of(tls)
  return "return {\n  tls = " .. tls .. [[,
  http = { ["/"] = function(request) return { body = {
    name = request.tls.server_name, version = request.tls.version } } end },
  endpoints = { ["/ws"] = { handle_message = function(conn, message)
    conn:send(conn.request.tls.server_name .. " " .. message)
  end } },
}]]
end

local function start(tls, files, options)
  return server.start({
    app = app_of(tls), files = files, environment = PLAIN, options = options,
  })
end

--- The common name of the certificate for a server name; nil: the default's client names none.
local function subject(app, name)
  local result = tls_client.get(app, { authority = authority.certificate, name = name })
  return result.subject, result
end

local THREE = [[{
    certificate = "first.pem", key = "first.key",
    certificates = {
      { certificate = "second.pem", key = "second.key" },
      { certificate = "third.pem", key = "third.key", names = { "Named.Example" } },
    },
  }]]

local function three()
  return make({
    first = "DNS:first.example,DNS:both.example,DNS:deep.wild.example",
    second = "DNS:second.example,DNS:both.example,DNS:*.wild.example",
    third = "DNS:third.example",
  })
end

describe("certificates by server name", function()
  it("are those that have the name; the first is the default", function()
    local app <close> = start(THREE, three())
    for name, expected in pairs({
      ["first.example"] = "first", ["second.example"] = "second", ["SECOND.Example"] = "second",
      ["both.example"] = "first", ["named.example"] = "third", ["third.example"] = "first",
      ["a.wild.example"] = "second", ["wild.example"] = "first", ["b.a.wild.example"] = "first",
      ["deep.wild.example"] = "first", ["unknown.example"] = "first", localhost = "first",
    }) do
      assert.equal(expected, (subject(app, name)), name)
    end
    assert.equal("first", (subject(app, nil)))
    assert.equal(3, #app:log_lines("event=certificate subject="))
  end)

  it("may all stand in `certificates`, and scripts see the name", function()
    local app <close> = start([[{ certificates = {
      { certificate = "first.pem", key = "first.key" },
      { certificate = "second.pem", key = "second.key" },
    } }]], three())
    local name, result = subject(app, "second.example")
    assert.equal("second", name)
    assert.equal("second.example", result.json.name)
    assert.equal("TLSv1.3", result.json.version)
  end)

  it("that no certificate has are refused where the app says so, and logged", function()
    local tls = THREE:gsub("certificate =", 'unknown_names = "refuse", %0', 1)
    local app <close> = start(tls, three(), { "--log-level", "debug" })
    assert.equal("second", (subject(app, "second.example")))
    assert.equal("first", (subject(app, nil)))
    local refused, result = subject(app, "unknown.example")
    assert.is_nil(refused)
    assert.matches("UNRECOGNIZED_NAME", result.error:upper():gsub(" ", "_"), 1, true)
    assert.is_truthy(app:wait_for_log(
      'event=tls_failed remote=127.0.0.1 why="no certificate is for the name unknown.example"'))
  end)

  it("are read anew by a reload", function()
    local app <close> = start(THREE, three())
    assert.equal("first", (subject(app, "new.example")))
    local files = make({ second = "DNS:new.example" })
    for name, text in pairs(files) do
      process.write_file(app.directory .. "/" .. name, text)
    end
    reloads.good(app)
    assert.equal("second", (subject(app, "new.example")))
    assert.equal("first", (subject(app, "second.example")))
  end)

  it("are refused with the file and the line", function()
    local files = three()
    files["broken.pem"] = "text\n"
    for entry, message in pairs({
      ['{ certificate = "none.pem", key = "second.key" }'] =
        "app.lua:3: tls.certificates[1].certificate: cannot read none.pem: No such file",
      ['{ certificate = "second.pem", key = "third.key" }'] =
        "tls.certificates[1].key: the key in third.key does not belong to the certificate",
      ['{ certificate = "broken.pem" }'] =
        "tls.certificates[1].certificate: broken.pem has no certificate",
      ['{ certificate = "second.pem", key = "second.key", ocsp = "none.der" }'] =
        "tls.certificates[1].ocsp: cannot read none.der",
      ['{ certificate = "second.pem", key = "second.key", ocsp = "broken.pem" }'] =
        "tls.certificates[1].ocsp: broken.pem has no OCSP response in DER",
    }) do
      local tls = '{\n  certificate = "first.pem", key = "first.key", certificates = {\n'
        .. entry .. ",\n} }"
      local code, log = server.launch_to_end({
        app = app_of(tls), files = files, environment = PLAIN,
      })
      assert.equal(2, code)
      assert.is_truthy(log:find(message, 1, true), message .. "\n" .. log)
    end
  end)
end)
