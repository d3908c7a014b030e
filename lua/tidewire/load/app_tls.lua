-- app_tls.lua -- an app's `tls`: the files of the certificate and its key, and whether they can be
-- used.
--
-- Each file comes from the strongest source that names it. Names in the app are relative to its
-- folder; names in the environment and on the command line are relative to the working folder. Runs
-- while an app loads. Reads no file itself.

local script_file = require "tidewire.load.script_file"

local app_tls = {}

--- The settings of the command line, of the environment and of the app.
---@class tidewire.TlsSources
---@field command_line { certificate: string|nil, key: string|nil }
---@field environment { certificate: string|nil, key: string|nil }
---@field app { certificate: string|nil, key: string|nil }|false|nil  false: explicitly none

--- One of the two files, and the name of its source: "tls.key", or the variable or option.
local function find(report, sources, name)
  if sources.command_line[name] then
    return sources.command_line[name], "--tls-" .. name
  elseif sources.environment[name] then
    return sources.environment[name], "TIDEWIRE_TLS_" .. name:upper()
  elseif sources.app and sources.app[name] then
    local path = script_file.below(script_file.folder(report.file), sources.app[name])
    return path, "tls." .. name, report:place("tls", name)
  end
end

--- Reads `tls` into result.certificate and result.key, which stay nil without `tls`. Where no key
--- is named, the file of the certificate must have it.
---@param report tidewire.AppReport
---@param result { certificate: string|nil, key: string|nil }
---@param sources tidewire.TlsSources
function app_tls.read(report, result, sources)
  local certificate, said, place = find(report, sources, "certificate")
  local key, key_said, key_place = find(report, sources, "key")
  if not certificate then
    if key then
      report:error(key_place,
        ("%s: a key needs its certificate: set tls.certificate as well"):format(key_said))
    elseif sources.app then
      report:error(report:place("tls"),
        'tls: expected { certificate = "cert.pem", key = "key.pem" }')
    end
    return
  end
  local check = report.facts.check_certificate
  local ok, message = true, nil
  if check then
    ok, message = check(certificate, key or certificate)
  end
  if ok then
    result.certificate, result.key = certificate, key or certificate
  else
    report:error(place, ("%s: %s"):format(said, message))
  end
end

return app_tls
