-- app_tls.lua -- an app's `tls`: its certificates with their files, the other options, and whether
-- they can be used.
--
-- Each file of the first certificate comes from the strongest source that names it. Names in the
-- app are relative to its folder; names in the environment and on the command line are relative to
-- the working folder. Runs while an app loads. Reads no file itself.

local options = require "tidewire.load.options"
local script_file = require "tidewire.load.script_file"

local app_tls = {}

--- The settings of the command line, of the environment and of the app.
---@class tidewire.TlsSources
---@field command_line { certificate: string|nil, key: string|nil }
---@field environment { certificate: string|nil, key: string|nil }
---@field app table|false|nil  false: explicitly none

---@class tidewire.AppCertificate
---@field certificate string  a file
---@field key string          a file
---@field ocsp string|nil     a file
---@field names string[]|nil  nil: those in the certificate

--- The options of TLS, as C reads them (app_tls.c).
---@class tidewire.AppTls
---@field certificates tidewire.AppCertificate[]  the first is the default
---@field unknown_names "default"|"refuse"
---@field client_ca string|nil      a file
---@field client_verify "require"|"optional"
---@field min_version "1.2"|"1.3"
---@field ciphers string|nil
---@field cipher_suites string|nil

local EXPECTED <const> = 'tls: expected { certificate = "cert.pem", key = "key.pem" }'

--- A name in the app as a path.
local function path_of(report, name)
  return name and script_file.below(script_file.folder(report.file), name) or nil
end

--- One of the two files, and the name of its source: "tls.key", or the variable or option.
local function find(report, sources, name)
  if sources.command_line[name] then
    return sources.command_line[name], "--tls-" .. name
  elseif sources.environment[name] then
    return sources.environment[name], "TIDEWIRE_TLS_" .. name:upper()
  elseif sources.app and sources.app[name] then
    return path_of(report, sources.app[name]), "tls." .. name, report:place("tls", name)
  end
end

--- The certificate of `tls` itself; nil: there is none. `said` gets the sources of its files.
local function first_certificate(report, sources, said)
  local certificate, said_certificate, place = find(report, sources, "certificate")
  local key, said_key, key_place = find(report, sources, "key")
  local own = sources.app or {}
  if not certificate then
    for _, name in ipairs { "key", "ocsp", "names" } do
      if name == "key" and key or own[name] then
        report:error(name == "key" and key_place or report:place("tls", name),
          ("%s: %s needs its certificate: set tls.certificate as well")
            :format(name == "key" and said_key or "tls." .. name,
              ({ key = "a key", ocsp = "a response", names = "a name" })[name]))
      end
    end
    return nil
  end
  said.certificate = { said_certificate, place }
  said.key = { said_key or said_certificate, key_place or place }
  said.ocsp = { "tls.ocsp", report:place("tls", "ocsp") }
  return {
    certificate = certificate, key = key or certificate, ocsp = path_of(report, own.ocsp),
    names = own.names or nil,
  }
end

--- The entries of `tls.certificates`, added to `list`.
local function more_certificates(report, entries, list)
  local place = report:place("tls", "certificates") -- entries of a list have no lines
  for i, entry in ipairs(entries) do
    local name = ("tls.certificates[%d]"):format(i)
    if type(entry) ~= "table" then
      report:error(place, name .. ': expected { certificate = "cert.pem", key = "key.pem" }')
    else
      local checked, findings = options.check("tls_certificate", entry, name .. ".", {})
      for _, problem in ipairs(findings.problems) do
        report:error(place, problem.message)
      end
      if checked.certificate then
        list[#list + 1] = {
          certificate = path_of(report, checked.certificate),
          key = path_of(report, checked.key or checked.certificate),
          ocsp = path_of(report, checked.ocsp), names = checked.names or nil,
        }
      elseif #findings.problems == 0 then
        report:error(place, name .. ": it has no `certificate`")
      end
    end
  end
  for key in pairs(entries) do
    if math.type(key) ~= "integer" or key < 1 or key > #entries then
      report:error(place,
        'tls.certificates: a list is expected, as in { { certificate = "cert.pem" } }')
      return
    end
  end
end

--- Whether C can use the options. `said` has the sources of the first certificate's files, where
--- `tls` itself has one.
local function check(report, tls, said)
  local ok, message, option, number = true, nil, nil, nil
  if report.facts.check_tls then
    ok, message, option, number = report.facts.check_tls(tls)
  end
  if ok then
    return true
  end
  option, number = option or "certificate", number or 1
  local of_certificate = option == "certificate" or option == "key" or option == "ocsp"
  local source = of_certificate and number == 1 and said[option]
  if source then
    report:error(source[2], ("%s: %s"):format(source[1], message))
  elseif of_certificate then
    local index = said.certificate and number - 1 or number
    report:error(report:place("tls", "certificates"),
      ("tls.certificates[%d].%s: %s"):format(index, option, message))
  else
    report:error(report:place("tls", option), ("tls.%s: %s"):format(option, message))
  end
end

--- Reads `tls` into result.tls, which stays nil without `tls`. Where no key is named, the file of
--- the certificate must have it.
---@param report tidewire.AppReport
---@param result { tls: tidewire.AppTls|nil }
---@param sources tidewire.TlsSources
function app_tls.read(report, result, sources)
  local own, said, known_errors = sources.app or {}, {}, #report.errors
  local list = { first_certificate(report, sources, said) }
  more_certificates(report, own.certificates or {}, list)
  if own.client_verify and not own.client_ca then
    report:error(report:place("tls", "client_verify"),
      "tls.client_verify: it needs tls.client_ca, the authorities of the clients' certificates")
  end
  if #report.errors > known_errors then
    return
  elseif #list == 0 then
    if sources.app then
      report:error(report:place("tls"), EXPECTED)
    end
    return
  end
  local tls = {
    certificates = list,
    unknown_names = own.unknown_names or "default",
    client_ca = path_of(report, own.client_ca),
    client_verify = own.client_verify or "require",
    min_version = own.min_version or "1.2",
    ciphers = own.ciphers, cipher_suites = own.cipher_suites,
  }
  if check(report, tls, said) then
    result.tls = tls
  end
end

return app_tls
