-- jwt_spec.lua -- which tokens tw.jwt accepts, and which it refuses. Tokens come from three
-- sources: tw.jwt itself, the openssl command, and PyJWT. Keys are made for each run.

local core = require "tidewire.jwt_c"
local json = require "tidewire.json"
local jwt = require "tidewire.jwt"

local SECRET = "a shared secret, long enough for sha256"

-- --- tools -------------------------------------------------------------------------------------

local folder

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- Runs a command in the folder of this run, and answers what it writes.
local function run(command, input)
  write(folder .. "/input", input or "")
  local pipe = assert(io.popen(("unset LD_PRELOAD; cd '%s' && { %s; } < input 2>error")
    :format(folder, command)))
  local output = pipe:read "a"
  assert(pipe:close(), command .. "\n" .. read(folder .. "/error"))
  return output
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local function base64url(bytes)
  local text = bytes:gsub("..?.?", function(group)
    local a, b, c = group:byte(1, 3)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    local four = ""
    for i = 0, #group do
      local index = (bits >> (18 - 6 * i) & 63) + 1
      four = four .. ALPHABET:sub(index, index)
    end
    return four
  end)
  return text
end

--- A token put together by hand: header and payload are taken as they are, `sign(bytes)` signs
--- them.
local function compose(header, payload, sign)
  local signed = base64url(header) .. "." .. base64url(payload)
  return signed .. "." .. base64url(sign(signed))
end

local function hmac(key, digest)
  return function(bytes)
    write(folder .. "/key", key)
    return run(("openssl dgst -%s -mac HMAC -macopt hexkey:$(od -An -v -tx1 key | tr -d ' "
      .. "\\n') -binary"):format(digest or "sha256"), bytes)
  end
end

local hs256 = hmac(SECRET)

local function hs_token(payload, header)
  return compose(header or '{"alg":"HS256"}', payload, hs256)
end

--- The message with which a token is refused.
local function refusal(token, options)
  local claims, err = jwt.verify(token, options)
  assert(claims == nil and type(err) == "string", "the token was accepted")
  return err
end

--- The message of an error that is thrown, which must blame this file.
local function thrown(f, ...)
  local ok, err = pcall(function(...) local result = f(...) return result end, ...)
  assert(not ok, "nothing was thrown")
  assert.matches("jwt_spec%.lua:%d+: ", err)
  return (err:gsub("^.-jwt_spec%.lua:%d+: ", ""))
end

local keys = {} -- name -> { private = PEM, public = PEM }

setup(function()
  folder = os.tmpname()
  os.remove(folder)
  assert(os.execute(("mkdir -m 700 '%s'"):format(folder)))
  local made = {
    rsa = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    rsa2 = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    ["P-256"] = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    other = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    ["P-384"] = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
    ["P-521"] = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521",
    secp256k1 = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
    ed25519 = "genpkey -algorithm ED25519",
  }
  for name, command in pairs(made) do
    run(("openssl %s -out %s.pem && openssl pkey -in %s.pem -pubout -out %s.pub")
      :format(command, name, name, name))
    keys[name] = {
      private = read(folder .. "/" .. name .. ".pem"),
      public = read(folder .. "/" .. name .. ".pub"),
    }
  end
end)

teardown(function()
  os.execute(("rm -r '%s'"):format(folder))
end)

-- --- the tests ---------------------------------------------------------------------------------

describe("tw.jwt", function()
  it("verifies what it signed, with a secret", function()
    local token = jwt.sign({ sub = "ada", roles = { "admin" } }, { key = SECRET })
    assert.same({ sub = "ada", roles = { "admin" } }, jwt.verify(token, { key = SECRET }))
  end)

  local pairs_of = {
    { "HS256", "secret" }, { "HS384", "secret" }, { "HS512", "secret" }, { "RS256", "rsa" },
    { "RS384", "rsa" }, { "RS512", "rsa" }, { "ES256", "P-256" }, { "ES384", "P-384" },
    { "ES512", "P-521" },
  }
  for _, case in ipairs(pairs_of) do
    local algorithm, name = case[1], case[2]
    it("signs and verifies " .. algorithm, function()
      local private = name == "secret" and SECRET or keys[name].private
      local public = name == "secret" and SECRET or keys[name].public
      local token = jwt.sign({ n = 1 }, { key = private, algorithm = algorithm })
      assert.same({ n = 1 }, jwt.verify(token, { key = public, algorithms = { algorithm } }))
      assert.equal(algorithm, json.decode(core.decode64(token:match "^[^.]+")).alg)
      -- Any bit of the signature matters, and so does any of what is signed.
      local head, body, signature = token:match "^(.-)%.(.-)%.(.-)$"
      local middle = #signature // 2
      local changed = signature:sub(middle, middle) == "A" and "B" or "A"
      local forged = ("%s.%s.%s%s%s"):format(head, body, signature:sub(1, middle - 1), changed,
        signature:sub(middle + 1))
      assert.equal("the token's signature does not match",
        refusal(forged, { key = public, algorithms = algorithm }))
      forged = head .. "." .. base64url '{"n":2}' .. "." .. signature
      assert.equal("the token's signature does not match",
        refusal(forged, { key = public, algorithms = algorithm }))
    end)
  end

  it("chooses the usual algorithm for the kind of key", function()
    for name, algorithm in pairs {
      rsa = "RS256", ["P-256"] = "ES256", ["P-384"] = "ES384", ["P-521"] = "ES512",
    } do
      local token = jwt.sign({ n = 1 }, { key = keys[name].private })
      assert.equal(algorithm, json.decode(core.decode64(token:match "^[^.]+")).alg)
      assert.same({ n = 1 }, jwt.verify(token, { key = keys[name].public }))
    end
  end)

  it("keeps integers, floats, empty arrays and null as they are", function()
    local claims = { big = math.maxinteger, small = math.mininteger, one = 1, f = 0.1, whole = 2.0,
      list = json.array(), object = {}, null = json.null, text = 'é "😀" \n' }
    local back = assert(jwt.verify(jwt.sign(claims, { key = SECRET }), { key = SECRET }))
    assert.same(claims, back)
    for name, value in pairs(claims) do
      assert.equal(math.type(value), math.type(back[name]))
    end
    assert.equal("[]", json.encode(back.list))
    assert.equal("{}", json.encode(back.object))
  end)
end)

describe("jwt.verify: the form of a token", function()
  it("answers no token for none", function()
    assert.equal("no token", refusal(nil, { key = SECRET }))
    assert.equal("no token", refusal("", { key = SECRET }))
  end)

  it("refuses garbage as malformed", function()
    local good = jwt.sign({ sub = "ada" }, { key = SECRET })
    local head, body, signature = good:match "^(.-)%.(.-)%.(.-)$"
    local bad = {
      "x", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", head, head .. "." .. body,
      head .. "." .. body .. ".", head .. ".." .. signature, "." .. body .. "." .. signature,
      good .. ".", good .. ".x", "." .. good, good .. "=", good .. "==", good .. " ", " " .. good,
      good .. "\n", good .. "\0", good .. "!", head .. "=." .. body .. "." .. signature,
      head .. "." .. body .. "+." .. signature, head .. "." .. body .. "/." .. signature,
      head .. "\0." .. body .. "." .. signature, "Bearer " .. good,
      ("a"):rep(70000) .. "." .. body .. "." .. signature, ("."):rep(100000),
      head .. "." .. body .. "." .. signature .. "AAA\xff", "\xff\xfe.\xff.\xff",
    }
    for _, token in ipairs(bad) do
      assert.matches("^malformed token: ", refusal(token, { key = SECRET }))
    end
  end)

  it("refuses a token beyond 64 KiB, and takes one below", function()
    local long = ('{"x":"%s"}'):format(("x"):rep(50000))
    assert.equal("malformed token: it is too long", refusal(hs_token(long), { key = SECRET }))
    assert.is_table(jwt.verify(hs_token((long:gsub("xx", "", 1000))), { key = SECRET }))
  end)

  it("refuses a signature that is spelt in another way", function()
    -- 32 bytes are 43 characters with two bits to spare.
    local token = jwt.sign({}, { key = SECRET })
    local at = ALPHABET:find(token:sub(-1), 1, true)
    local alias = token:sub(1, -2) .. ALPHABET:sub(at + 1, at + 1)
    assert.equal("malformed token: its signature is not base64url",
      refusal(alias, { key = SECRET }))
  end)

  it("refuses a header or payload that is no JSON object", function()
    for _, text in ipairs { "[]", "[1]", '"a"', "1", "null", "{", " ", "{} {}", '{"a":1,}', "{}\0",
      "\xef\xbb\xbf{}",
      '{"a":"\xff"}', '{"n":12345678901234567890}' } do
      assert.equal("malformed token: its payload is not a JSON object",
        refusal(hs_token(text), { key = SECRET }))
      assert.equal("malformed token: its header is not a JSON object",
        refusal(hs_token("{}", text), { key = SECRET }))
    end
  end)

  it("survives any byte of a token being another one", function()
    math.randomseed(7519)
    local good = jwt.sign({ sub = "ada", n = 12345 }, { key = SECRET })
    for _ = 1, 3000 do
      local at, byte = math.random(#good), string.char(math.random(0, 255))
      local token = good:sub(1, at - 1) .. byte .. good:sub(at + 1)
      if token ~= good then
        refusal(token, { key = SECRET })
      end
      refusal(good:sub(1, math.random(0, #good - 1)), { key = SECRET })
    end
  end)

  it("takes a string or nil for a token, and throws for what cannot be one", function()
    assert.matches("string expected, got number", thrown(jwt.verify, 12, { key = SECRET }))
    assert.matches("string expected, got table", thrown(jwt.verify, {}, { key = SECRET }))
  end)
end)

describe("jwt.verify: algorithms", function()
  it("never accepts none, in any case or with any signature", function()
    for _, name in ipairs { "none", "None", "NONE", "nOnE", "" } do
      local head, body = base64url(('{"alg":"%s"}'):format(name)), base64url "{}"
      for _, token in ipairs {
        head .. "." .. body .. ".", head .. "." .. body .. ".AAAA", head .. "." .. body,
      } do
        for _, key in ipairs { SECRET, keys.rsa.public, keys["P-256"].public } do
          assert.matches("^the token's algorithm is ", (refusal(token, { key = key })
            :gsub("^malformed token: it is not three parts.*",
              "the token's algorithm is not even asked for")))
        end
      end
    end
    assert.matches('"none" is never accepted',
      thrown(jwt.verify, "x", { key = SECRET, algorithms = { "none" } }))
    assert.matches('"none" is never accepted',
      thrown(jwt.sign, {}, { key = SECRET, algorithm = "none" }))
  end)

  it("does not take a public key for a secret", function()
    for _, name in ipairs { "rsa", "P-256" } do
      local public = keys[name].public
      local forged = compose('{"alg":"HS256"}', '{"sub":"admin"}', hmac(public))
      assert.matches('^the token\'s algorithm is "HS256", and only .S256 is accepted$',
        refusal(forged, { key = public }))
      assert.matches("HS256 does not go with the key, which is an? %u+ key",
        thrown(jwt.verify, forged, { key = public, algorithms = { "HS256" } }))
      assert.matches("HS512 does not go with the key", thrown(jwt.verify, forged,
        { key = "\n " .. public, algorithms = { name == "rsa" and "RS256" or "ES256", "HS512" } }))
      assert.matches("HS256 does not go with the key", thrown(jwt.sign, {},
        { key = keys[name].private, algorithm = "HS256" }))
    end
  end)

  it("accepts only the algorithms that are named", function()
    local token = jwt.sign({}, { key = SECRET, algorithm = "HS512" })
    assert.equal('the token\'s algorithm is "HS512", and only HS256 is accepted',
      refusal(token, { key = SECRET }))
    assert.equal('the token\'s algorithm is "HS512", and only HS256 or HS384 is accepted',
      refusal(token, { key = SECRET, algorithms = { "HS256", "HS384" } }))
    assert.same({}, jwt.verify(token, { key = SECRET, algorithms = { "HS256", "HS512" } }))
    assert.same({}, jwt.verify(token, { key = SECRET, algorithms = "HS512" }))
    assert.matches("only RS256 is accepted", refusal(jwt.sign({}, { key = keys["P-256"].private }),
      { key = keys.rsa.public }))
  end)

  it("never hands libjwt a key or an algorithm that makes it skip the signature", function()
    local unsigned = base64url '{"alg":"none"}' .. "." .. base64url "{}" .. "."
    assert.has_error(function() core.verify(unsigned, "HS256", "") end)
    assert.has_error(function() core.verify(unsigned, "none", SECRET) end)
    assert.has_error(function() core.verify(unsigned, "hs256", SECRET) end)
    assert.is_false(core.verify(unsigned, "HS256", SECRET))
    assert.is_false(core.verify(jwt.sign({}, { key = SECRET, algorithm = "HS512" }),
      "HS256", SECRET))
  end)

  it("reads the name of the algorithm as it is written", function()
    for _, header in ipairs { '{"alg":"hs256"}', '{"alg":"HS256 "}', '{"alg":"HS256\\u0000"}',
      '{"alg":["HS256"]}',
      '{"alg":256}', '{"alg":null}', '{"Alg":"HS256"}', "{}", '{"alg":"HS256","alg":"none"}' } do
      assert.matches("alg", refusal(hs_token("{}", header), { key = SECRET }))
    end
  end)

  it("shows nothing of a token in a message that a log could stumble over", function()
    assert.equal("the token's algorithm is something else, and only HS256 is accepted",
      refusal(hs_token("{}", '{"alg":"x\\u001b[31m\\n"}'), { key = SECRET }))
    assert.equal("the token's algorithm is something else, and only HS256 is accepted",
      refusal(hs_token("{}", '{"alg":"' .. ("A"):rep(5000) .. '"}'), { key = SECRET }))
  end)

  it("refuses headers that change what the token means", function()
    assert.matches("%(crit%)",
      refusal(hs_token("{}", '{"alg":"HS256","crit":["b64"],"b64":false}'), { key = SECRET }))
    assert.equal('the token\'s type is "at+jwt", and only JWT is accepted',
      refusal(hs_token("{}", '{"alg":"HS256","typ":"at+jwt"}'), { key = SECRET }))
    assert.matches("type is something else",
      refusal(hs_token("{}", '{"alg":"HS256","typ":1}'), { key = SECRET }))
    local more = '{"alg":"HS256","typ":"jwt","kid":"x","jku":"http://x"}'
    assert.same({}, jwt.verify(hs_token("{}", more), { key = SECRET }))
  end)

  it("refuses another key", function()
    local message = "the token's signature does not match"
    assert.equal(message, refusal(jwt.sign({}, { key = SECRET }), { key = SECRET .. "x" }))
    assert.equal(message, refusal(jwt.sign({}, { key = "count" }), { key = SECRET }))
    assert.equal(message,
      refusal(jwt.sign({}, { key = keys.rsa.private }), { key = keys.rsa2.public }))
    assert.equal(message,
      refusal(jwt.sign({}, { key = keys["P-256"].private }), { key = keys.other.public }))
  end)

  it("refuses ES signatures that are no two numbers of the curve's size", function()
    local token = jwt.sign({}, { key = keys["P-256"].private })
    local signed = token:match "^(.*)%."
    for _, bytes in ipairs {
      "\0", ("\0"):rep(64), ("\0"):rep(63), ("\0"):rep(65), ("\xff"):rep(64), ("\0"):rep(96),
    } do
      assert.equal("the token's signature does not match",
        refusal(signed .. "." .. base64url(bytes), { key = keys["P-256"].public }))
    end
  end)
end)

describe("jwt.verify: claims", function()
  local function with(claims, options)
    options = options or {}
    options.key = SECRET
    return jwt.verify(jwt.sign(claims, { key = SECRET }), options)
  end

  local function refused(claims, options)
    local good, err = with(claims, options)
    assert(good == nil, "accepted")
    return err
  end

  it("refuses an expired token", function()
    local now = os.time()
    assert.equal("token expired", refused { exp = now - 10 })
    assert.equal("token expired", refused { exp = now }) -- RFC 7519 §4.1.4: on or after
    assert.equal("token expired", refused { exp = 0 })
    assert.equal("token expired", refused { exp = now - 0.5 })
    assert.is_table(with { exp = now + 100 })
    assert.is_table(with { exp = now + 100.5 })
    assert.is_table(with { exp = math.maxinteger // 2 })
  end)

  it("refuses a token before its time", function()
    local now = os.time()
    assert.equal("token not valid yet", refused { nbf = now + 100 })
    assert.is_table(with { nbf = now })
    assert.is_table(with { nbf = now - 100, iat = now + 100 })
  end)

  it("grants a leeway both ways, when asked", function()
    local now = os.time()
    assert.is_table(with({ exp = now - 5 }, { leeway = 60 }))
    assert.is_table(with({ nbf = now + 30 }, { leeway = 60 }))
    assert.equal("token expired", refused({ exp = now - 60 }, { leeway = 60 }))
    assert.equal("token not valid yet", refused({ nbf = now + 100 }, { leeway = 60 }))
  end)

  it("refuses times that are no numbers", function()
    for _, name in ipairs { "exp", "nbf", "iat" } do
      for _, value in ipairs { '"9999999999"', "true", "null", "[9999999999]", "{}" } do
        assert.equal(("malformed token: its claim %s is not a number"):format(name),
          refusal(hs_token(('{"%s":%s}'):format(name, value)), { key = SECRET }))
      end
    end
  end)

  it("looks at the issuer when asked", function()
    assert.is_table(with { iss = "https://issuer" })
    assert.is_table(with({ iss = "https://issuer" }, { issuer = "https://issuer" }))
    assert.is_table(with({ iss = "b" }, { issuer = { "a", "b" } }))
    for _, claims in ipairs { { iss = "https://issuer/" }, { iss = "HTTPS://issuer" }, {},
      { iss = json.null },
      { iss = { "https://issuer" } }, { iss = 1 } } do
      assert.equal("the token is from another issuer",
        refused(claims, { issuer = "https://issuer" }))
    end
  end)

  it("looks at the audience, and is no audience by default", function()
    assert.is_table(with({ aud = "game" }, { audience = "game" }))
    assert.is_table(with({ aud = { "web", "game" } }, { audience = "game" }))
    assert.is_table(with({ aud = { "web", "game" } }, { audience = { "chat", "game" } }))
    for _, claims in ipairs { { aud = "Game" }, { aud = { "web" } }, { aud = json.array() }, {},
      { aud = json.null },
      { aud = { x = "game" } }, { aud = 1 }, { aud = { { "game" } } } } do
      assert.equal("the token is for another audience", refused(claims, { audience = "game" }))
    end
    assert.equal("the token is for a certain audience, and verify was given none",
      refused { aud = "game" })
  end)

  it("demands claims when asked", function()
    assert.equal("the token has no claim exp", refused({ sub = "ada" }, { require = "exp" }))
    local exp = os.time() + 100
    assert.equal("the token has no claim sub",
      refused({ exp = exp, sub = json.null }, { require = { "exp", "sub" } }))
    assert.is_table(with({ exp = exp, sub = "ada" }, { require = { "exp", "sub" } }))
  end)
end)

describe("jwt.verify and sign: misuse", function()
  it("throws for options that do not exist, and suggests those that do", function()
    assert.equal('unknown option "audiences"; did you mean "audience"?',
      thrown(jwt.verify, "x", { key = SECRET, audiences = "x" }))
    assert.equal('unknown option "algorithm"; did you mean "algorithms"?',
      thrown(jwt.verify, "x", { key = SECRET, algorithm = "HS256" }))
    assert.equal('unknown option "algorithms"; did you mean "algorithm"?',
      thrown(jwt.sign, {}, { key = SECRET, algorithms = "HS256" }))
    assert.matches("options must be a table", thrown(jwt.verify, "x"))
    assert.matches("options must be a table", thrown(jwt.sign, {}, SECRET))
  end)

  it("throws for options of another kind", function()
    for _, options in ipairs { { leeway = "1" }, { leeway = -1 }, { leeway = 0 / 0 },
      { leeway = math.huge }, { issuer = 1 }, { issuer = {} }, { audience = { 1 } },
      { audience = true }, { require = { true } },
      { algorithms = {} }, { algorithms = { "HS1" } }, { algorithms = { "hs256" } },
      { algorithms = { 256 } } } do
      options.key = SECRET
      thrown(jwt.verify, jwt.sign({}, { key = SECRET }), options)
    end
  end)

  it("throws for a key that cannot be used, before it looks at the token", function()
    local cut = keys.rsa.public:sub(1, 200)
    local damaged = keys.rsa.public:gsub("(KEY%-%-%-%-%-\n)........", "%1AAAAAAAA", 1)
    local short = keys.rsa.public:gsub("\n[^\n]+\n(%-%-%-%-%-END)", "\n%1")
    run "openssl req -x509 -key rsa.pem -subj /CN=x -out cert.pem"
    run "openssl pkey -in rsa.pem -aes128 -passout pass:x -out encrypted.pem"
    run "openssl rsa -in rsa.pem -aes128 -passout pass:x -traditional -out encrypted1.pem"
    run "openssl rsa -in rsa.pem -RSAPublicKey_out -out rsa1.pub"
    local bad = {
      { nil, "key must be a string" }, { 12, "key must be a string" }, { "", "the key is empty" },
      { cut, "was it cut off" }, { damaged, "damaged" }, { short, "damaged" },
      { keys.rsa.private, "a private key, and verifying takes the public one" },
      { read(folder .. "/cert.pem"), "a certificate" }, { read(folder .. "/rsa1.pub"), "PKCS #1" },
      { read(folder .. "/encrypted.pem"), "passphrase" },
      { read(folder .. "/encrypted1.pem"), "passphrase" }, { keys.ed25519.public, "not supported" },
      { keys.secp256k1.public, "curve" },
      { "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "damaged" },
    }
    for i = 1, 14 do
      assert.matches(bad[i][2], thrown(jwt.verify, "x", { key = bad[i][1] }), 1, true)
    end
    local unfit = {
      { keys.rsa.public, "a public key, and signing takes the private one" },
      { read(folder .. "/encrypted.pem"), "passphrase" },
      { read(folder .. "/encrypted1.pem"), "passphrase" },
      { keys.ed25519.private, "not supported" }, { keys.secp256k1.private, "curve" },
    }
    for _, case in ipairs(unfit) do
      assert.matches(case[2], thrown(jwt.sign, {}, { key = case[1] }), 1, true)
    end
    assert.matches("RS256 does not go with the key, which is an EC key on P-256",
      thrown(jwt.sign, {}, { key = keys["P-256"].private, algorithm = "RS256" }), 1, true)
    assert.matches("ES256 does not go with the key, which is an EC key on P-384",
      thrown(jwt.verify, "x", { key = keys["P-384"].public, algorithms = "ES256" }), 1, true)
    assert.matches("RS256 does not go with the key, which is a shared secret",
      thrown(jwt.sign, {}, { key = SECRET, algorithm = "RS256" }), 1, true)
  end)

  it("takes keys in the forms that openssl writes", function()
    run "openssl rsa -in rsa.pem -traditional -out rsa1.pem"
    run "openssl ec -in P-256.pem -out ec1.pem"
    run "openssl ecparam -name prime256v1 -genkey -out ec2.pem"
    run "openssl pkey -in ec2.pem -pubout -out ec2.pub"
    local forms = {
      { read(folder .. "/rsa1.pem"), keys.rsa.public },
      { read(folder .. "/ec1.pem"), keys["P-256"].public },
      { read(folder .. "/ec2.pem"), read(folder .. "/ec2.pub") },
      { keys.rsa.private:gsub("\n", "\r\n"), keys.rsa.public:gsub("\n", "\r\n") },
      { "a comment\n" .. keys.rsa.private .. "\n", "\n# a comment\n" .. keys.rsa.public },
    }
    for i = 1, #forms do
      local private, public = forms[i][1], forms[i][2]
      assert.same({ n = 1 }, jwt.verify(jwt.sign({ n = 1 }, { key = private }), { key = public }))
    end
  end)

  it("throws for claims and headers that cannot be signed", function()
    local function unsigned(claims, options)
      options = options or {}
      options.key = SECRET
      return thrown(jwt.sign, claims, options)
    end
    assert.matches("claims must be a table", unsigned(nil))
    assert.matches("claims must be a table", unsigned "x")
    assert.matches("are a list", unsigned { 1, 2 })
    assert.matches("are a list", unsigned(json.array()))
    assert.matches("claims cannot be encoded: value%.x is NaN", unsigned { x = 0 / 0 })
    assert.matches("libjwt cannot take these claims", unsigned { x = "a\0b" })
    assert.matches("libjwt cannot take these claims", unsigned { x = ("x"):rep(70000) })
    assert.matches("say algorithm", unsigned({}, { headers = { alg = "none" } }))
    assert.matches("typ is always", unsigned({}, { headers = { typ = "at+jwt" } }))
    assert.matches("expires_in must be", unsigned({}, { expires_in = "60" }))
    assert.matches("either expires_in or", unsigned({ exp = 1 }, { expires_in = 60 }))
  end)
end)

describe("jwt.sign", function()
  it("sets the time of expiry, and leaves the claims as they were", function()
    local claims = { sub = "ada" }
    local before = os.time()
    local token = jwt.sign(claims, { key = SECRET, expires_in = 60 })
    local back = assert(jwt.verify(token, { key = SECRET, require = "exp" }))
    assert.is_true(back.exp >= before + 60 and back.exp <= os.time() + 60)
    assert.equal("integer", math.type(back.exp))
    assert.same({ sub = "ada" }, claims)
    assert.equal("token expired",
      refusal(jwt.sign(claims, { key = SECRET, expires_in = -1 }), { key = SECRET }))
  end)

  it("puts further headers into the token", function()
    local token = jwt.sign({}, { key = SECRET, headers = { kid = "2026-1", typ = "JWT" } })
    assert.same({ alg = "HS256", typ = "JWT", kid = "2026-1" },
      json.decode(core.decode64(token:match "^[^.]+")))
    assert.same({}, jwt.verify(token, { key = SECRET }))
  end)

  it("uses keys of any bytes", function()
    local key = "\0\1\255binary\0"
    local token = jwt.sign({ n = 1 }, { key = key })
    assert.same({ n = 1 }, jwt.verify(token, { key = key }))
    refusal(token, { key = "\0\1\255binarx\0" })
    refusal(token, { key = "\0" })
  end)
end)

describe("tw.jwt and others", function()
  it("accepts the bytes that were signed, whatever they look like", function()
    -- The form of RFC 7515 appendix A.1: line breaks and spaces are part of what is signed.
    local token = compose('{"typ":"JWT",\r\n "alg":"HS256"}',
      '{"iss":"joe",\r\n "n":9007199254740993 }', hs256)
    assert.same({ iss = "joe", n = 9007199254740993 }, jwt.verify(token, { key = SECRET }))
  end)

  it("reads the key and the token of RFC 7515 appendix A.1", function()
    local key = core.decode64("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4"
      .. "hcgUuTwjAzZr1Z9CAow")
    local token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
      .. "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"
      .. "Ijp0cnVlfQ."
      .. "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert.equal("token expired", refusal(token, { key = key })) -- so all before that was good
    assert.same({ iss = "joe", exp = 1300819380, ["http://example.com/is_root"] = true },
      jwt.verify(token, { key = key, leeway = 1e10 }))
    assert.equal("the token's signature does not match",
      refusal(token:gsub("Ek$", "Ak") .. "", { key = key:sub(2) }))
  end)

  it("agrees with openssl", function()
    for digest, algorithm in pairs { sha256 = "HS256", sha384 = "HS384", sha512 = "HS512" } do
      local token = compose(('{"alg":"%s"}'):format(algorithm), '{"n":1}', hmac(SECRET, digest))
      assert.same({ n = 1 }, jwt.verify(token, { key = SECRET, algorithms = algorithm }))
    end
    for digest, algorithm in pairs { sha256 = "RS256", sha384 = "RS384", sha512 = "RS512" } do
      local token = compose(('{"alg":"%s"}'):format(algorithm), '{"n":1}', function(bytes)
        return run(("openssl dgst -%s -sign rsa.pem"):format(digest), bytes)
      end)
      assert.same({ n = 1 }, jwt.verify(token, { key = keys.rsa.public, algorithms = algorithm }))
    end
  end)

  it("agrees with PyJWT, both ways", function()
    if not os.execute "/usr/bin/python3 -c 'import jwt, cryptography' 2>/dev/null" then
      return pending("PyJWT with cryptography is not installed (Debian: python3-jwt "
        .. "python3-cryptography)")
    end
    local cases = { { "HS256", "secret" }, { "HS384", "secret" }, { "HS512", "secret" },
      { "RS256", "rsa" }, { "RS512", "rsa" }, { "ES256", "P-256" }, { "ES384", "P-384" },
      { "ES512", "P-521" } }
    write(folder .. "/secret.pem", SECRET)
    write(folder .. "/secret.pub", SECRET)
    local ours = {}
    for i, case in ipairs(cases) do
      ours[i] = jwt.sign({ sub = "ada", n = 9007199254740993, f = 0.1, exp = 9999999999 },
        { key = read(folder .. "/" .. case[2] .. ".pem"), algorithm = case[1] })
    end
    write(folder .. "/exchange.py", [[
import json, jwt, sys
answers = []
for (algorithm, name), token in zip(*json.load(sys.stdin)):
    claims = jwt.decode(token, open(name + ".pub").read(), algorithms=[algorithm])
    answers.append([claims, jwt.encode(
        {"sub": "ada", "n": 9007199254740993, "aud": ["game"], "exp": 9999999999},
        open(name + ".pem").read(), algorithm=algorithm, headers={"kid": "1"})])
print(json.dumps(answers))
]])
    local answers =
      assert(json.decode(run("/usr/bin/python3 exchange.py", json.encode { cases, ours })))
    assert.equal(#cases, #answers)
    for i, case in ipairs(cases) do
      assert.same({ sub = "ada", n = 9007199254740993, f = 0.1, exp = 9999999999 }, answers[i][1])
      local claims =
        assert(jwt.verify(answers[i][2], { key = read(folder .. "/" .. case[2] .. ".pub"),
        algorithms = case[1], audience = "game" }))
      assert.same({ sub = "ada", n = 9007199254740993, aud = { "game" }, exp = 9999999999 }, claims)
    end
  end)
end)
