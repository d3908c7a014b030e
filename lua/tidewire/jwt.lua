-- jwt.lua -- `tw.jwt`: JSON Web Tokens (RFC 7519), verified and made.
--
-- This file decides which tokens are valid; C checks the signatures (`tidewire.jwt_c`, by libjwt).
-- The order matters: the form of the token, then whether its algorithm fits the key, then the
-- signature, and only then the claims. `tw.json` reads the claims from the bytes that were signed,
-- so an integer stays an integer.
--
-- For an invalid token functions return nil and a message. A wrong key or option is misuse and
-- throws.

local core = require "tidewire.jwt_c"
local json = require "tidewire.json"
local jwt_key = require "tidewire.jwt.key"
local jwt_secret = require "tidewire.jwt.secret"
local missing = require "tidewire.base.missing"
local misuse = require "tidewire.base.misuse"
local option_types = require "tidewire.load.option_types"

---@class tidewire.jwt
local jwt = {}

local throw = misuse.throw

local LONGEST = 64 * 1024 -- bytes of a token; libjwt's own limit is the C stack

local KNOWN = {}
for _, name in ipairs {
  "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512",
} do
  KNOWN[name] = true
end

local function check_options(options, known)
  if type(options) ~= "table" then
    throw("the options must be a table, not %s", option_types.kind(options))
  end
  misuse.check_names(options, known)
end

--- A string or a list of strings, as a list; nil stays nil.
local function check_list(options, name)
  local value = options[name]
  if type(value) == "string" then
    return { value }
  elseif value == nil then
    return nil
  elseif type(value) ~= "table" or #value == 0 then
    throw("%s must be a string or a list of strings", name)
  end
  for _, element in ipairs(value) do
    if type(element) ~= "string" then
      throw("%s must be a string or a list of strings", name)
    end
  end
  return value
end

local function contains(list, value)
  for _, element in ipairs(list) do
    if element == value then
      return true
    end
  end
  return false
end

-- Servers have one key or a few; the kind of each is determined once. A script that uses new keys
-- without end must not fill the memory.
local MOST_KEYS = 64
local known_keys = { [true] = {}, [false] = {} } -- by whether they are private
local known_count = 0

---@return tidewire.jwt.Key
local function check_key(options, private)
  local key = options.key
  if type(key) ~= "string" then
    throw("key must be a string: a secret, or the text of a PEM file")
  end
  local known = known_keys[private][key]
  if known then
    return known
  end
  known = jwt_key.describe(key, private)
  if known_count == MOST_KEYS then
    known_keys, known_count = { [true] = {}, [false] = {} }, 0
  end
  known_keys[private][key], known_count = known, known_count + 1
  return known
end

local MOST_WARNINGS = 10 -- a script may have a secret for each of its users
local warnings = 0
-- key -> algorithm -> true: long enough, or warned of
local judged = setmetatable({}, { __mode = "k" })

--- A secret that is too short is an error in production (ENV=production), and a warning elsewhere,
--- once for each of the first few.
local function check_size(algorithm, key)
  local seen = judged[key] or {}
  judged[key] = seen
  local why = not seen[algorithm] and jwt_secret.too_short(key.text, algorithm)
  if why and os.getenv("ENV") == "production" then
    throw("%s", why)
  end
  local server = package.loaded["tidewire.core"] -- not there under plain Lua
  if why and server and warnings < MOST_WARNINGS then
    warnings = warnings + 1
    server.log(2, "weak_secret", nil, "why", why .. "; with ENV=production it is an error")
  end
  seen[algorithm] = true
end

local function check_algorithm(name, key)
  if type(name) == "string" and name:lower() == "none" then
    throw('the algorithm "none" is never accepted: any client can write such a token')
  elseif not KNOWN[name] then
    throw('unknown algorithm "%s"', tostring(name))
  elseif not contains(key.algorithms, name) then
    throw("the algorithm %s does not go with the key, which is %s (%s)", name, key.kind,
      table.concat(key.algorithms, ", "))
  end
  check_size(name, key)
end

-- --- verifying ---------------------------------------------------------------------------------

---@class tidewire.jwt.VerifyOptions
---@field key string                        a secret (HS…; as long as the hash), or a public key
---                                         as PEM text (RS…, ES…)
---@field algorithms string|string[]|nil    those accepted; by default the usual one for the key:
---                                         HS256, RS256, and for an EC key its curve's
---@field issuer string|string[]|nil        `iss` must be this, or one of these
---@field audience string|string[]|nil      `aud` must be or contain this, or one of these. Without
---                                         an audience a token that has an `aud` is refused
---                                         (RFC 7519 §4.1.3)
---@field leeway number|nil                 seconds by which clocks may differ; default 0
---@field require string|string[]|nil       claims that must be there, such as "exp"

local VERIFY_OPTIONS = { "key", "algorithms", "issuer", "audience", "leeway", "require" }

local function check_verify_options(options)
  check_options(options, VERIFY_OPTIONS)
  local key = check_key(options, false)
  local algorithms = check_list(options, "algorithms") or { key.algorithms[1] }
  for _, name in ipairs(algorithms) do
    check_algorithm(name, key)
  end
  local leeway = options.leeway or 0
  if type(leeway) ~= "number" or not (leeway >= 0 and leeway < math.huge) then
    throw("leeway must be a number of seconds, 0 or more")
  end
  return {
    key = key.text,
    algorithms = algorithms,
    issuers = check_list(options, "issuer"),
    audiences = check_list(options, "audience"),
    required = check_list(options, "require") or {},
    leeway = leeway + 0.0, -- a float: integers near their ends would wrap around
  }
end

local function decode_object(part, name)
  local text = core.decode64(part)
  if not text then
    return nil, ("malformed token: its %s is not base64url"):format(name)
  end
  local value, err = json.decode(text)
  if err or not text:find("^[ \t\r\n]*{") then
    return nil, ("malformed token: its %s is not a JSON object"):format(name)
  end
  return value
end

--- A value from a token, for a message, cut and quoted: clients write tokens.
local function shown(value)
  return type(value) == "string" and #value <= 32 and not value:find("[^%w%+%-%./_]")
    and ('"%s"'):format(value)
    or "something else"
end

--- The problem with the header; nil: none.
local function header_fault(header, wanted)
  if header.alg == nil then
    return "malformed token: its header has no alg"
  elseif not contains(wanted.algorithms, header.alg) then
    return ("the token's algorithm is %s, and only %s is accepted"):format(shown(header.alg),
      table.concat(wanted.algorithms, " or "))
  elseif header.crit ~= nil then -- RFC 7515 §4.1.11
    return "the token demands extensions (crit) that are not supported"
  elseif header.typ ~= nil and (type(header.typ) ~= "string" or header.typ:upper() ~= "JWT") then
    -- Tokens for other purposes must not pass for plain ones (RFC 8725 §3.11).
    return ("the token's type is %s, and only JWT is accepted"):format(shown(header.typ))
  end
end

--- The problem with the times of a token; nil: it is valid now.
local function time_fault(claims, leeway)
  for _, name in ipairs { "exp", "nbf", "iat" } do
    local value = claims[name]
    if value ~= nil
      and (type(value) ~= "number" or value ~= value or math.abs(value) == math.huge) then
      return ("malformed token: its claim %s is not a number"):format(name)
    end
  end
  local now = os.time() -- nothing is added to numbers of a token: they may be of any size
  if claims.exp and claims.exp <= now - leeway then
    return "token expired"
  elseif claims.nbf and claims.nbf > now + leeway then
    return "token not valid yet"
  end
end

--- The problem with the issuer and the audience of a token; nil: none.
local function party_fault(claims, wanted)
  if wanted.issuers
    and not (type(claims.iss) == "string" and contains(wanted.issuers, claims.iss)) then
    return "the token is from another issuer"
  elseif claims.aud == nil and not wanted.audiences then
    return nil
  elseif not wanted.audiences then
    return "the token is for a certain audience, and verify was given none"
  end
  local audiences = type(claims.aud) == "table" and claims.aud or { claims.aud }
  for _, audience in ipairs(audiences) do
    if type(audience) == "string" and contains(wanted.audiences, audience) then
      return nil
    end
  end
  return "the token is for another audience"
end

local function claims_fault(claims, wanted)
  for _, name in ipairs(wanted.required) do
    if claims[name] == nil or claims[name] == json.null then
      return ("the token has no claim %s"):format(name)
    end
  end
  return time_fault(claims, wanted.leeway) or party_fault(claims, wanted)
end

local function verify(token, wanted)
  if #token > LONGEST then
    return nil, "malformed token: it is too long"
  end
  local head, body, signature = token:match("^([^.]+)%.([^.]+)%.([^.]+)$")
  if not head then
    return nil, "malformed token: it is not three parts with dots between"
  end
  local header, header_err = decode_object(head, "header")
  if not header then
    return nil, header_err
  end
  local fault = header_fault(header, wanted)
  if fault then
    return nil, fault
  end
  local claims, claims_err = decode_object(body, "payload")
  if not claims then
    return nil, claims_err
  end
  if not core.decode64(signature) then
    return nil, "malformed token: its signature is not base64url"
  elseif not core.verify(token, header.alg, wanted.key) then
    return nil, "the token's signature does not match"
  end
  fault = claims_fault(claims, wanted)
  if fault then
    return nil, fault
  end
  return claims
end

--- Verifies a token: its form, its signature, its times, its issuer and its audience.
---
--- Returns the claims, or nil and the problem: "token expired", "token not valid yet", "malformed
--- token: …", "the token's signature does not match", … For nil, the value of a missing header, it
--- returns nil, "no token". Throws for wrong keys and options.
---@param token string|nil
---@param options tidewire.jwt.VerifyOptions
---@return table<string, any>|nil claims
---@return string|nil err
function jwt.verify(token, options)
  if missing.is_module(token) then
    error("tw.jwt.verify: call it with a dot, tw.jwt.verify(…)", 2)
  end
  local wanted = misuse.blame_caller(check_verify_options, options)
  if token == nil or token == "" then
    return nil, "no token"
  elseif type(token) ~= "string" then
    error(("bad argument #1 to 'verify' (string expected, got %s)"):format(type(token)), 2)
  end
  return verify(token, wanted)
end

-- --- signing -----------------------------------------------------------------------------------

---@class tidewire.jwt.SignOptions
---@field key string               a secret (HS…), or a private key as PEM text (RS…, ES…)
---@field algorithm string|nil     by default the usual one for the kind of key, as for `verify`
---@field headers table|nil        further members of the header, such as { kid = "2026-1" }
---@field expires_in number|nil    seconds from now; sets `exp`

local SIGN_OPTIONS = { "key", "algorithm", "headers", "expires_in" }

local REFUSED = {
  headers = "libjwt cannot take these headers (text with a NUL character, or more than 64 KiB)",
  claims = "libjwt cannot take these claims (text with a NUL character, or more than 64 KiB)",
  key = "OpenSSL cannot sign with this key",
  memory = "not enough memory",
}

local function encode_object(value, name)
  if type(value) ~= "table" then
    throw("the %s must be a table, not %s", name, option_types.kind(value))
  end
  local ok, text = pcall(json.encode, value)
  if not ok then
    throw("the %s cannot be encoded: %s", name, text)
  elseif text:byte(1) ~= 0x7b then
    throw("the %s must have names, and are a list", name)
  end
  return text
end

local function check_headers(headers)
  for name, value in pairs(headers) do
    if name == "alg" then
      throw "headers must not have alg: say algorithm = …"
    elseif name == "typ" and value ~= "JWT" then
      throw 'headers: typ is always "JWT"'
    end
  end
end

local LONGEST_LIFE = 3e11 -- seconds

--- The claims with the time of expiry, in a table of their own.
local function with_expiry(claims, seconds)
  if type(seconds) ~= "number" or not (seconds > -LONGEST_LIFE and seconds < LONGEST_LIFE) then
    throw("expires_in must be a number of seconds, less than 10000 years")
  elseif claims.exp ~= nil then
    throw("say either expires_in or the claim exp")
  end
  local copy = {}
  for name, value in pairs(claims) do
    copy[name] = value
  end
  local exp = os.time() + seconds
  copy.exp = math.tointeger(exp) or exp
  return copy
end

local function sign(claims, options)
  check_options(options, SIGN_OPTIONS)
  local key = check_key(options, true)
  local algorithm = options.algorithm or key.algorithms[1]
  check_algorithm(algorithm, key)
  local headers = encode_object(options.headers or {}, "headers")
  check_headers(options.headers or {})
  if options.expires_in ~= nil and type(claims) == "table" then
    claims = with_expiry(claims, options.expires_in)
  end
  local token, refused = core.sign(algorithm, key.text, headers, encode_object(claims, "claims"))
  if not token then
    throw("%s", REFUSED[refused])
  end
  return token
end

--- Makes a token. Throws for wrong claims, keys and options.
---@param claims table<string, any>  becomes a JSON object; integers keep all their digits
---@param options tidewire.jwt.SignOptions
---@return string token
function jwt.sign(claims, options)
  if missing.is_module(claims) then
    error("tw.jwt.sign: call it with a dot, tw.jwt.sign(…)", 2)
  end
  return (misuse.blame_caller(sign, claims, options))
end

missing.watch_module("tw.jwt", jwt)

return jwt
