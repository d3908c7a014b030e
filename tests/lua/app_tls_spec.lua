-- app_tls_spec.lua -- the options of an app's TLS, and the messages for problems with them.

local app_tls = require "tidewire.load.app_tls"
local AppReport = require "tidewire.load.app_report"

--- What is read, the errors, and what was asked of the check.
local function read(sources, answer)
  local asked
  local function check_tls(tls)
    asked = tls
    return table.unpack(answer or { true })
  end
  local report, result = AppReport.new("apps/chat/app.lua", { check_tls = check_tls }), {}
  app_tls.read(report, result, {
    command_line = sources.command_line or {}, environment = sources.environment or {},
    app = sources.app,
  })
  local errors = {}
  for i, problem in ipairs(report.errors) do errors[i] = problem.message end
  return result.tls, errors, asked
end

--- The files of the certificates that are read.
local function files(sources)
  local tls = assert((read(sources)))
  local list = {}
  for i, certificate in ipairs(tls.certificates) do
    list[i] = { certificate.certificate, certificate.key, certificate.ocsp }
  end
  return list
end

local APP = { certificate = "cert.pem", key = "/etc/key.pem" }

describe("an app's TLS", function()
  it("is none by default", function()
    assert.same({ nil, {} }, { read({ app = false }) })
    assert.same({ nil, {} }, { read({}) })
  end)

  it("is of files in the app's folder, but for absolute names", function()
    local tls, errors, asked = read({ app = APP })
    assert.same({
      certificates = { { certificate = "apps/chat/cert.pem", key = "/etc/key.pem" } },
      unknown_names = "default", client_verify = "require", min_version = "1.2",
    }, tls)
    assert.same({}, errors)
    assert.equal(tls, asked)
  end)

  it("looks for a key that is not named beside the certificate", function()
    assert.same({ { "apps/chat/both.pem", "apps/chat/both.pem" } },
      files({ app = { certificate = "both.pem" } }))
  end)

  it("is taken from the strongest source, each file by itself", function()
    local environment = { certificate = "e.pem", key = "e.key" }
    assert.same({ { "e.pem", "e.key" } }, files({ app = APP, environment = environment }))
    assert.same({ { "c.pem", "e.key" } },
      files({ app = APP, environment = environment, command_line = { certificate = "c.pem" } }))
    assert.same({ { "apps/chat/cert.pem", "c.key" } },
      files({ app = APP, command_line = { key = "c.key" } }))
  end)

  it("has more certificates behind the first, or instead of it", function()
    local more = { { certificate = "a.pem", key = "a.key", ocsp = "a.der" },
      { certificate = "/b.pem", names = { "b.example" } } }
    local a = { "apps/chat/a.pem", "apps/chat/a.key", "apps/chat/a.der" }
    assert.same({ { "apps/chat/cert.pem", "/etc/key.pem" }, a, { "/b.pem", "/b.pem" } },
      files({ app = { certificate = "cert.pem", key = "/etc/key.pem", certificates = more } }))
    assert.same({ a, { "/b.pem", "/b.pem" } }, files({ app = { certificates = more } }))
    assert.same({ "b.example" },
      read({ app = { certificates = more } }).certificates[2].names)
  end)

  it("is refused by the name under which it was given", function()
    local no = { nil, "cannot read it" }
    for name, sources in pairs({
      ["tls.certificate"] = { app = APP },
      ["TIDEWIRE_TLS_CERTIFICATE"] = { environment = APP },
      ["--tls-certificate"] = { command_line = APP },
    }) do
      local tls, errors = read(sources, no)
      assert.is_nil(tls)
      assert.same({ name .. ": cannot read it" }, errors)
    end
    for name, sources in pairs({
      ["tls.key"] = { app = { key = "k" } },
      ["TIDEWIRE_TLS_KEY"] = { environment = { key = "k" } },
      ["--tls-key"] = { command_line = { key = "k" } },
    }) do
      assert.same({ name .. ": a key needs its certificate: set tls.certificate as well" },
        select(2, read(sources)))
    end
    assert.same({ 'tls: expected { certificate = "cert.pem", key = "key.pem" }' },
      select(2, read({ app = {} })))
  end)

  it("says which option and which certificate cannot be used", function()
    local app = { certificate = "c.pem", certificates = { { certificate = "a.pem" } } }
    local function said(option, number, of)
      return select(2, read({ app = of or app }, { nil, "no", option, number }))[1]
    end
    assert.equal("tls.certificate: no", said("key", 1)) -- the file that should have it
    assert.equal("tls.ocsp: no", said("ocsp", 1))
    assert.equal("tls.certificates[1].key: no", said("key", 2))
    assert.equal("tls.certificates[1].ocsp: no",
      said("ocsp", 1, { certificates = { { certificate = "a.pem" } } }))
    assert.equal("tls.client_ca: no", said("client_ca", 1))
    assert.equal("tls.ciphers: no", said("ciphers", 1))
  end)

  it("says what is missing, and what is no option", function()
    for message, app in pairs({
      ["tls.certificates[1]: it has no `certificate`"] = { certificates = { { key = "k" } } },
      ['tls.certificates[1]: expected { certificate = "cert.pem", key = "key.pem" }'] =
        { certificates = { "a.pem" } },
      ['tls.certificates: a list is expected, as in { { certificate = "cert.pem" } }'] =
        { certificates = { name = { certificate = "a.pem" } } },
      ['tls.certificates[1]: unknown option "certficate"; did you mean "certificate"?'] =
        { certificates = { { certficate = "a.pem" } } },
      ['tls.certificates[1].names: string "a b" is no server name: expected "example.com" or '
        .. '"*.example.com"'] = { certificates = { { certificate = "a.pem", names = { "a b" } } } },
      ["tls.client_verify: it needs tls.client_ca, the authorities of the clients' certificates"] =
        { certificate = "c.pem", client_verify = "optional" },
      ["tls.ocsp: a response needs its certificate: set tls.certificate as well"] =
        { ocsp = "o.der" },
    }) do
      assert.same({ message }, select(2, read({ app = app })))
    end
  end)
end)
