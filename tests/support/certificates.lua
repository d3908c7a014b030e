-- certificates.lua -- certificates for the tests, made by the openssl program.
--
-- Each is its own authority, for 127.0.0.1 and localhost. One that any server may use is made once a run of the
-- interpreter, in a folder that goes with it; others are made where the test says. Knows no server.

local process = require "support.process"

local certificates = {}

local CURVE = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"

local function run(format, ...)
  assert(os.execute(format:format(...) .. " 2>/dev/null"), "openssl makes no certificate")
end

--- Makes a certificate and its key: FOLDER/NAME.pem and FOLDER/NAME.key.
---@param folder string
---@param name string also its subject's common name
---@param options { days: integer?, key: string? }? days: how long it holds, 30 when left out, less than 0 for one that
---  has expired; key: openssl's options for another kind of key
---@return string certificate its file
---@return string key its file
function certificates.make(folder, name, options)
  options = options or {}
  local certificate, key = ("%s/%s.pem"):format(folder, name), ("%s/%s.key"):format(folder, name)
  local days = options.days or 30
  run("openssl req -x509 %s -nodes -keyout '%s' -out '%s' -days %d -subj '/CN=%s' "
    .. "-addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1", options.key or CURVE, key, certificate,
    math.max(1, days), name)
  if days < 0 then -- which only the other command of openssl's makes
    run("openssl x509 -in '%s' -signkey '%s' -days %d -out '%s.new'", certificate, key, days, certificate)
    assert(os.rename(certificate .. ".new", certificate))
  end
  return certificate, key
end

local folder
local keeper -- removes the folder when the interpreter ends

--- A certificate for any server.
---@return string certificate its file
---@return string key its file
function certificates.shared()
  if not folder then
    folder = process.make_directory()
    keeper = setmetatable({}, { __gc = function() process.remove_directory(folder) end })
    certificates.make(folder, "shared")
  end
  assert(keeper)
  return folder .. "/shared.pem", folder .. "/shared.key"
end

return certificates
