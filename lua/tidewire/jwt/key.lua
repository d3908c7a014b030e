-- key.lua -- the kind of a key: a secret for HS256, or one half of a key pair.
--
-- A token names its own algorithm, and a server must not trust that: the public half of a key pair
-- would otherwise pass as a secret. The kind of a key is therefore determined from the key alone,
-- before any token is read. Keys come from the server's own configuration: a wrong key is misuse
-- and throws.
--
-- Reads a PEM text as far as the names of its algorithms; OpenSSL reads the rest. A text that is no
-- PEM text is a secret, unless it is a key in another form (jwt/secret.lua).

local core = require "tidewire.jwt_c"
local jwt_secret = require "tidewire.jwt.secret"

local jwt_key = {}

---@class tidewire.jwt.Key
---@field family "HS"|"RS"|"ES"    the algorithms it goes with
---@field kind string              for messages: "an RSA key"
---@field algorithms string[]      all of them, the usual one first
---@field text string|nil          for C: the secret, or the PEM text in the form that OpenSSL reads

local SECRET = {
  family = "HS", kind = "a shared secret", algorithms = { "HS256", "HS384", "HS512" },
}
local RSA = { family = "RS", kind = "an RSA key", algorithms = { "RS256", "RS384", "RS512" } }

-- Object identifiers (RFC 8017 appendix C, RFC 5480 §2.1.1), as DER has them.
local RSA_OID = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
local EC_OID = "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"
local CURVES = {
  ["\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"] =
    { family = "ES", kind = "an EC key on P-256", algorithms = { "ES256" } },
  ["\x06\x05\x2b\x81\x04\x00\x22"] = {
    family = "ES", kind = "an EC key on P-384", algorithms = { "ES384" },
  },
  ["\x06\x05\x2b\x81\x04\x00\x23"] = {
    family = "ES", kind = "an EC key on P-521", algorithms = { "ES512" },
  },
}

-- The algorithm's name stands at the very front of a key; random bytes of the key itself do not
-- count.
local FRONT = 24

-- Other contents of PEM texts that are given as keys, and advice for each.
local ADVICE = {
  ["PUBLIC KEY"] = "a public key, and signing takes the private one",
  ["PRIVATE KEY"] =
    "a private key, and verifying takes the public one: openssl pkey -in FILE -pubout",
  ["RSA PRIVATE KEY"] =
    "a private key, and verifying takes the public one: openssl pkey -in FILE -pubout",
  ["EC PRIVATE KEY"] =
    "a private key, and verifying takes the public one: openssl pkey -in FILE -pubout",
  ["ENCRYPTED PRIVATE KEY"] =
    "protected by a passphrase: openssl pkey -in FILE -out PLAIN takes it off",
  ["OPENSSH PRIVATE KEY"] = "in ssh's form: ssh-keygen -p -m PKCS8 -f FILE makes a PEM text of it",
  ["TRUSTED CERTIFICATE"] =
    "a certificate: openssl x509 -in FILE -noout -pubkey takes the public key out of it",
  ["CERTIFICATE"] =
    "a certificate: openssl x509 -in FILE -noout -pubkey takes the public key out of it",
  ["RSA PUBLIC KEY"] =
    "in the PKCS #1 form: openssl rsa -RSAPublicKey_in -in FILE -pubout makes the usual one",
}

local PUBLIC = { ["PUBLIC KEY"] = true }
local PRIVATE = { ["PRIVATE KEY"] = true, ["RSA PRIVATE KEY"] = true, ["EC PRIVATE KEY"] = true }

--- A PEM text as OpenSSL wants it: no blanks before it, lines of 64.
local function pem_text(label, body)
  local lines = body .. ("="):rep(-#body % 4)
  lines = lines:gsub(("."):rep(64), "%0\n"):gsub("\n$", "")
  return ("-----BEGIN %s-----\n%s\n-----END %s-----\n"):format(label, lines, label)
end

--- The first block of a PEM text with one of the wanted labels: label, bytes, and the block alone.
--- Its line breaks may be missing, or be written "\n", as it happens on the way through an
--- environment variable.
local function find_block(pem, wanted)
  local other
  local block = "%-%-%-%-%-BEGIN ([A-Z0-9 ]+)%-%-%-%-%-(.-)%-%-%-%-%-END %1%-%-%-%-%-"
  for label, body in pem:gmatch(block) do
    if body:find("ENCRYPTED", 1, true) then
      label = "ENCRYPTED PRIVATE KEY"
    end
    if wanted[label] then
      body = body:gsub("\\[rn]", ""):gsub("[%s=]", "")
      return label, core.decode64((body:gsub("%+", "-"):gsub("/", "_"))), pem_text(label, body)
    end
    other = other or ADVICE[label]
  end
  error("the key is " .. (other or "a PEM text without a whole key in it: was it cut off?"), 0)
end

--- DER: a SEQUENCE that is as long as it says it is.
local function is_whole(der)
  if not der or #der < 4 or der:byte(1) ~= 0x30 then
    return false
  end
  local first = der:byte(2)
  local extra = first > 0x80 and first - 0x80 or 0
  if first == 0x80 or extra > 4 or #der < 2 + extra then
    return false
  end
  local length = extra == 0 and first or string.unpack(">I" .. extra, der, 3)
  return #der == 2 + extra + length
end

local function curve_of(der, from)
  for oid, key in pairs(CURVES) do
    if der:find(oid, from, true) then
      return key
    end
  end
  error("the key is an EC key on a curve that no algorithm of JWT has (P-256, P-384 and P-521 "
    .. "have one)", 0)
end

local function kind_of(label, der)
  if label == "RSA PRIVATE KEY" then
    return RSA
  elseif label == "EC PRIVATE KEY" then
    return curve_of(der, 1)
  end
  local front = der:sub(1, FRONT)
  if front:find(RSA_OID, 1, true) then
    return RSA
  end
  local _, last = front:find(EC_OID, 1, true)
  if last then
    return curve_of(der:sub(last + 1, last + 10), 1)
  end
  error("the key is of a kind that is not supported: RSA and EC keys are", 0)
end

local function with_text(key, text)
  return { family = key.family, kind = key.kind, algorithms = key.algorithms, text = text }
end

--- The kind of a key. Throws, without a place, for a key that cannot be used.
---@param key string       a secret of any bytes, or a PEM text
---@param private boolean  true: to sign, false: to verify
---@return tidewire.jwt.Key
function jwt_key.describe(key, private)
  if key == "" then
    error("the key is empty", 0)
  elseif not key:find("-----BEGIN", 1, true) then
    jwt_secret.refuse_known(key)
    return with_text(SECRET, key)
  end
  local label, der, text = find_block(key, private and PRIVATE or PUBLIC)
  if not is_whole(der) then
    error("the key is damaged: its PEM text has no complete key", 0)
  end
  return with_text(kind_of(label, der), text)
end

return jwt_key
