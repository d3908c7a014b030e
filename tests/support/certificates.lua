-- certificates.lua -- certificates for the tests, made by the openssl program; expired ones by
-- Python's cryptography, because versions of the program differ in their options for dates.
--
-- Each is its own authority, for 127.0.0.1 and localhost, but for those that an authority signs.
-- One for any server is made once a run of the interpreter, in a folder that the end removes;
-- others are made in the folder that the test names. Knows no server.

local process = require "support.process"

local certificates = {}

local CURVE = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"

-- Signs a certificate anew, with its issuer's key, so that it ended `days` ago.
local EXPIRE = [[
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
path, key_path, days = sys.argv[1], sys.argv[2], int(sys.argv[3])
old = x509.load_pem_x509_certificate(open(path, "rb").read())
key = serialization.load_pem_private_key(open(key_path, "rb").read(), None)
end = datetime.datetime.utcnow() - datetime.timedelta(days=days)
new = (x509.CertificateBuilder().subject_name(old.subject).issuer_name(old.issuer)
       .public_key(old.public_key()).serial_number(old.serial_number)
       .not_valid_before(end - datetime.timedelta(days=30)).not_valid_after(end))
for extension in old.extensions:
    new = new.add_extension(extension.value, extension.critical)
open(path, "wb").write(new.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
]]

-- Writes an OCSP response about a certificate, signed by its authority.
local OCSP = [[
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
path, issuer_path, key_path, out, days, status = sys.argv[1:7]
certificate = x509.load_pem_x509_certificate(open(path, "rb").read())
issuer = x509.load_pem_x509_certificate(open(issuer_path, "rb").read())
key = serialization.load_pem_private_key(open(key_path, "rb").read(), None)
now = datetime.datetime.utcnow()
end = now + datetime.timedelta(days=int(days))
revoked = status == "REVOKED"
response = (ocsp.OCSPResponseBuilder()
  .add_response(certificate, issuer, hashes.SHA1(), getattr(ocsp.OCSPCertStatus, status),
                end - datetime.timedelta(days=9), end, now if revoked else None, None)
  .responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
  .sign(key, hashes.SHA256()))
open(out, "wb").write(response.public_bytes(serialization.Encoding.DER))
]]

local function run(format, ...)
  local command = format:format(...)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local said = pipe:read("a")
  if not pipe:close() then error("no certificate was made by: " .. command .. "\n" .. said, 3) end
end

--- Makes a certificate and its key: FOLDER/NAME.pem and FOLDER/NAME.key.
---@param folder string
---@param name string also its subject's common name
---@param options { days: integer?, key: string? }? days: how long it holds, 30 when left out, less
---  than 0 for one that has expired; key: openssl's options for another kind of key
---@return string certificate its file
---@return string key its file
function certificates.make(folder, name, options)
  options = options or {}
  local certificate, key = ("%s/%s.pem"):format(folder, name), ("%s/%s.key"):format(folder, name)
  local days = options.days or 30
  run("openssl req -x509 %s -nodes -keyout '%s' -out '%s' -days %d -subj '/CN=%s' "
    .. "-addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1", options.key or CURVE, key,
    certificate, math.max(1, days), name)
  if days < 0 then
    run("/usr/bin/python3 -W ignore -c '%s' '%s' '%s' %d", EXPIRE, certificate, key, -days)
  end
  return certificate, key
end

--- Makes an authority, to sign others with: FOLDER/NAME.pem and FOLDER/NAME.key.
---@param folder string
---@param name string
---@return { certificate: string, key: string } authority its files
function certificates.make_authority(folder, name)
  local path = folder .. "/" .. name
  run("openssl req -x509 %s -nodes -keyout '%s.key' -out '%s.pem' -days 30 -subj '/CN=%s' "
    .. "-addext keyUsage=critical,keyCertSign", CURVE, path, path, name)
  return { certificate = path .. ".pem", key = path .. ".key" }
end

--- Makes a certificate that an authority has signed, and its key: FOLDER/NAME.pem and
--- FOLDER/NAME.key.
---@param folder string
---@param name string also its subject's common name
---@param authority { certificate: string, key: string }
---@param options { names: string?, days: integer? }? names: in openssl's form,
---  "DNS:localhost,IP:127.0.0.1" when left out; days: as of certificates.make
---@return string certificate its file
---@return string key its file
function certificates.make_signed(folder, name, authority, options)
  options = options or {}
  local path, days = folder .. "/" .. name, options.days or 30
  process.write_file(path .. ".extensions",
    "subjectAltName=" .. (options.names or "DNS:localhost,IP:127.0.0.1"))
  run("openssl req -new %s -nodes -keyout '%s.key' -out '%s.request' -subj '/CN=%s'", CURVE, path,
    path, name)
  run("openssl x509 -req -in '%s.request' -out '%s.pem' -days %d -CA '%s' -CAkey '%s' "
    .. "-CAcreateserial -extfile '%s.extensions'", path, path, math.max(1, days),
    authority.certificate, authority.key, path)
  if days < 0 then
    run("/usr/bin/python3 -W ignore -c '%s' '%s.pem' '%s' %d", EXPIRE, path, authority.key, -days)
  end
  return path .. ".pem", path .. ".key"
end

--- Makes an OCSP response about a certificate: FOLDER/NAME.der.
---@param folder string
---@param name string as of certificates.make_signed
---@param authority { certificate: string, key: string }
---@param options { days: integer?, status: string? }? days: until it expires, 5 when left out, less
---  than 0 when it has; status: "GOOD", "REVOKED", "UNKNOWN"
---@return string file
function certificates.make_ocsp(folder, name, authority, options)
  options = options or {}
  local path = folder .. "/" .. name
  run("/usr/bin/python3 -W ignore -c '%s' '%s.pem' '%s' '%s' '%s.der' %d %s", OCSP, path,
    authority.certificate, authority.key, path, options.days or 5, options.status or "GOOD")
  return path .. ".der"
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
