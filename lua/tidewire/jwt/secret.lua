-- secret.lua -- refuses texts that must not be shared secrets: keys that others may know, and short
-- texts.
--
-- A client that knows the secret of HS256 can make tokens. A public key that is not a whole PEM
-- text (its lines lost in an environment variable, DER, ssh's form, a JSON Web Key) would be taken
-- for a secret, and so would a certificate, an address or a file's name. A text is recognised in
-- each of these forms: as it is, in base64, in hexadecimal, in UTF-16. A real secret, random bytes
-- or an encoding of them, looks like one of these less often than once in ten million.

local core = require "tidewire.jwt_c"

local jwt_secret = {}

-- ---- advice ----

local WHOLE_PEM =
  'give the whole PEM text, from "-----BEGIN PUBLIC KEY-----" on, with its last line'

local KINDS = {
  pem = { "what is left of a PEM text", WHOLE_PEM },
  utf16 = { "a PEM text in UTF-16", "save the file as UTF-8" },
  public = { "a public key without the lines of a PEM text", WHOLE_PEM },
  rsa = { "an RSA public key without the lines of a PEM text, in the PKCS #1 form",
    "openssl rsa -RSAPublicKey_in -in FILE -pubout makes the usual PEM text of the whole" },
  private = { "a private key without the lines of a PEM text",
    "give the whole PEM text: of the private key to sign, of the public one to verify" },
  certificate = { "a certificate without the lines of a PEM text",
    "openssl x509 -in FILE -noout -pubkey takes the public key out of the whole" },
  der = { "a key or certificate in DER, which is binary",
    "give PEM: openssl pkey -pubin -inform DER -in FILE, or openssl x509 -inform DER -in FILE "
      .. "-noout -pubkey" },
  ssh = {
    "a key in ssh's form", "ssh-keygen -e -m PKCS8 -f FILE makes the PEM text of the public key",
  },
  jwk = { "a JSON Web Key",
    'a key pair\'s must become a PEM text; of one of the kind "oct" give the bytes that its member '
      .. 'k stands for' },
  xml = { "a key in XML", "it must become a PEM text" },
  url = {
    "an address, not what can be fetched there", "fetch it, and give the PEM text of the key",
  },
  file = {
    "the name of a file, not what is in it", 'read the file: io.open(name, "rb"):read("a")',
  },
  token = { "a token", "give the secret or the public key with which tokens are verified" },
}

-- ---- looking at bytes ----

-- Parts of object identifiers, as DER has them: RSA, EC, the curves of Edwards and Montgomery,
-- names in certificates.
local OIDS = {
  "\x2a\x86\x48\x86\xf7\x0d\x01", "\x2a\x86\x48\xce\x3d", "\x06\x03\x2b\x65", "\x06\x03\x55\x04",
}

--- The position and the length of the content of the DER element at `at`; nil if there is no
--- element.
local function content_of(bytes, at)
  local first = bytes:byte(at + 1)
  if not first or first == 0x80 or first > 0x84 then
    return nil
  elseif first < 0x80 then
    return at + 2, first
  end
  local count = first - 0x80
  if #bytes < at + 1 + count then
    return nil
  end
  return at + 2 + count, (string.unpack(">I" .. count, bytes, at + 2))
end

local function has_oid(bytes)
  for _, oid in ipairs(OIDS) do
    if bytes:find(oid, 1, true) then
      return true
    end
  end
  return false
end

--- The kind of key or certificate that the bytes are, or are the beginning of; nil: none.
local function der_kind(bytes)
  if bytes:byte(1) ~= 0x30 then
    return nil
  end
  local at, length = content_of(bytes, 1)
  local inner = at and bytes:byte(at)
  if not inner or inner ~= 0x30 and inner ~= 0x02 then
    return nil
  end
  local inner_at, inner_length = content_of(bytes, at)
  if not inner_at or inner_at + inner_length > at + length then
    return nil
  end
  local whole = #bytes == at - 1 + length
  -- one within the other: chance does not make that either
  local large = at > 3 and inner_at > at + 2
  if not (whole or large or has_oid(bytes)) then
    return nil
  elseif inner == 0x30 then
    return bytes:byte(inner_at) == 0x06 and "public" or "certificate"
  elseif inner_length == 1 then -- a version: PKCS #8, SEC 1, PKCS #1
    return "private"
  end
  return inner_length >= 64 and "rsa" or nil
end

-- ---- looking at text ----

--- Patterns, and the kind of a text that matches.
local TELLING = {
  { "^%s*https?://%S+%s*$", "url" },
  { "^%s*eyJ[%w_%-]+%.eyJ[%w_%-]+%.", "token" },
  { "^%s*ssh%-rsa", "ssh" }, { "^%s*ssh%-ed25519", "ssh" }, { "^%s*ssh%-[%l%d%-]+%s", "ssh" },
  { "ssh%-%l[%l%d%-]* +AAAA", "ssh" }, { "^%s*ecdsa%-sha2%-", "ssh" },
  { "^%s*sk%-[%l%d%-]+@openssh%.com", "ssh" }, { "AAAA[BC]3NzaC1", "ssh" },
  { "AAAAE2VjZHNhLXNo", "ssh" }, { "AAAAInNrLWVj", "ssh" }, { "AAAAGnNrLXNz", "ssh" },
  { "^\0\0\0.ssh%-", "ssh" }, { "^\0\0\0.ecdsa%-", "ssh" }, { "^\0\0\0.sk%-", "ssh" },
  { "PuTTY%-User%-Key%-File", "ssh" }, { "BEGIN SSH2", "ssh" },
  { "%-%-%-%-%-[Bb][Ee][Gg][Ii][Nn]", "pem" }, { "%-%-%-%-%-[Ee][Nn][Dd]", "pem" },
  { "BEGIN [%u%d ]*KEY", "pem" }, { "BEGIN CERT", "pem" }, { "%-BEGIN ", "pem" },
  { "END [%u%d ]*KEY", "pem" }, { "END CERT", "pem" }, { "KEY%-%-%-", "pem" },
  { "CERTIFICATE%-%-%-", "pem" }, { "[\"']kty\\*[\"']%s*:", "jwk" },
  { "^%s*{%s*\\*[\"']kty", "jwk" }, { "[\"']keys\\*[\"']%s*:%s*%[", "jwk" },
  { "[\"']e\\*[\"']%s*:%s*\\*[\"']AQAB", "jwk" }, { "<RSAKeyValue", "xml" }, { "<Modulus", "xml" },
  { "^%s*Modulus=%x", "public" }, { "Public%-Key: %(", "public" },
}

local FILE_ENDINGS = {
  pem = true, pub = true, key = true, crt = true, cer = true, der = true, jwk = true, jwks = true,
}

local function text_kind(text)
  for _, case in ipairs(TELLING) do
    if text:find(case[1]) then
      return case[2]
    end
  end
  local ending = text:match("^%s*[%w%._/~%-]+%.(%a+)%s*$")
  return ending and FILE_ENDINGS[ending:lower()] and "file" or nil
end

--- Decodes base64 of either alphabet, in whole groups; nil: the text is no base64.
local function from_base64(text)
  text = text:gsub("[%s=]", ""):gsub("%+", "-"):gsub("/", "_")
  if #text < 16 or text:find("[^%w_%-]") then
    return nil
  end
  return core.decode64(text:sub(1, #text - #text % 4))
end

local function from_hex(text)
  text = text:gsub("[%s:]", "")
  if #text < 32 or #text % 2 == 1 or text:find("%X") then
    return nil
  end
  return (text:gsub("..", function(pair) return string.char(tonumber(pair, 16)) end))
end

--- The kind of decoded bytes, which may be a text themselves.
local function decoded_kind(bytes)
  return bytes and (der_kind(bytes) or text_kind(bytes))
end

--- The kind of a text, or of a piece of base64 in it.
local function kind_of(text)
  local kind = text_kind(text) or decoded_kind(from_hex(text)) or decoded_kind(from_base64(text))
  if kind then
    return kind
  end
  for piece in text:gmatch("[%w%+/%s]+=*") do
    kind = decoded_kind(from_base64(piece))
    if kind then
      return kind
    end
  end
  -- 65537, at the end of an RSA key whose beginning is lost
  return text:find("IDAQAB=*%s*$") and "public" or nil
end

--- Throws, without a place, for a secret that others may know. The message says what it is and what
--- to do.
---@param key string
function jwt_secret.refuse_known(key)
  local kind = der_kind(key) and "der" or kind_of((key:gsub("^\xef\xbb\xbf", "")))
  if not kind and key:find("\0", 1, true) then
    kind = kind_of((key:gsub("^\xff\xfe", ""):gsub("^\xfe\xff", ""):gsub("\0", "")))
    kind = kind == "pem" and "utf16" or kind
  end
  local found = KINDS[kind]
  if found then
    error(("the key is %s, and not a shared secret: %s"):format(found[1], found[2]), 0)
  end
end

-- ---- sizes ----

-- A secret has at least as many bytes as the hash (RFC 7518 §3.2).
local LEAST = { HS256 = 32, HS384 = 48, HS512 = 64 }

--- Why a secret is too short for the algorithm; nil if it is long enough, or the algorithm takes
--- none.
---@param key string
---@param algorithm string
---@return string|nil
function jwt_secret.too_short(key, algorithm)
  local least = LEAST[algorithm]
  if not least or #key >= least then
    return nil
  end
  return ("the secret has %d byte%s, and %s takes %d or more (RFC 7518 section 3.2), or it can be "
    .. "guessed: make one with `openssl rand -base64 %d`")
    :format(#key, #key == 1 and "" or "s", algorithm, least, least)
end

return jwt_secret
