-- app_tls_spec.lua -- the files of an app's TLS, and the messages for problems with them.

local app_tls = require "tidewire.load.app_tls"
local AppReport = require "tidewire.load.app_report"

--- What is read, the errors, and what was asked of the check.
local function read(sources, answer)
  local asked = {}
  local function check_certificate(certificate, key)
    asked = { certificate, key }
    return table.unpack(answer or { true })
  end
  local report, result =
    AppReport.new("apps/chat/app.lua", { check_certificate = check_certificate }), {}
  app_tls.read(report, result, {
    command_line = sources.command_line or {}, environment = sources.environment or {},
    app = sources.app,
  })
  local errors = {}
  for i, problem in ipairs(report.errors) do errors[i] = problem.message end
  return result, errors, asked
end

local APP = { certificate = "cert.pem", key = "/etc/key.pem" }

describe("an app's TLS", function()
  it("is none by default", function()
    assert.same({ {}, {}, {} }, { read({ app = false }) })
    assert.same({ {}, {}, {} }, { read({}) })
  end)

  it("is of files in the app's folder, but for absolute names", function()
    local result, errors, asked = read({ app = APP })
    assert.same({ certificate = "apps/chat/cert.pem", key = "/etc/key.pem" }, result)
    assert.same({}, errors)
    assert.same({ "apps/chat/cert.pem", "/etc/key.pem" }, asked)
  end)

  it("looks for a key that is not named beside the certificate", function()
    assert.same({ certificate = "apps/chat/both.pem", key = "apps/chat/both.pem" },
      (read({ app = { certificate = "both.pem" } })))
  end)

  it("is taken from the strongest source, each file by itself", function()
    local environment = { certificate = "e.pem", key = "e.key" }
    assert.same({ certificate = "e.pem", key = "e.key" },
      (read({ app = APP, environment = environment })))
    assert.same({ certificate = "c.pem", key = "e.key" },
      (read({ app = APP, environment = environment, command_line = { certificate = "c.pem" } })))
    assert.same({ certificate = "apps/chat/cert.pem", key = "c.key" },
      (read({ app = APP, command_line = { key = "c.key" } })))
  end)

  it("is refused by the name under which it was given", function()
    local no = { nil, "cannot read it" }
    for name, sources in pairs({
      ["tls.certificate"] = { app = APP },
      ["TIDEWIRE_TLS_CERTIFICATE"] = { environment = APP },
      ["--tls-certificate"] = { command_line = APP },
    }) do
      local result, errors = read(sources, no)
      assert.same({}, result)
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
end)
