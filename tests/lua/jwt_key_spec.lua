-- jwt_key_spec.lua -- keys of tw.jwt: a key that others may know is no secret, and short secrets
-- are refused in production.

local core = require "tidewire.jwt_c"
local jwt = require "tidewire.jwt"
local jwt_secret = require "tidewire.jwt.secret"

local folder

local function read(path)
  local file = assert(io.open(folder .. "/" .. path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function run(command)
  assert(os.execute(("cd '%s' && { %s; } > out 2>&1"):format(folder, command)), command)
  return read "out"
end

local function thrown(f, ...)
  local ok, err = pcall(f, ...)
  assert(not ok, "nothing was thrown")
  return err
end

--- The key is refused, for verifying and signing, with this message.
local function check_refused(key, what, name)
  for _, f in ipairs {
    function() jwt.verify("x.y.z", { key = key }) end,
    function() jwt.verify("x.y.z", { key = key, algorithms = { "HS256", "HS384", "HS512" } }) end,
    function() jwt.sign({}, { key = key }) end,
  } do
    local err = thrown(f)
    assert(err:find(what, 1, true), ("%s: %s"):format(name or key, err))
  end
end

local names = { "rsa", "rsa3072", "p256", "p384", "p521", "ed25519" }
local public, private = {}, {}

setup(function()
  folder = os.tmpname()
  os.remove(folder)
  assert(os.execute(("mkdir -m 700 '%s'"):format(folder)))
  local made = {
    rsa = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    rsa3072 = "-algorithm RSA -pkeyopt rsa_keygen_bits:3072", p256 = "-algorithm EC -pkeyopt "
      .. "ec_paramgen_curve:P-256", p384 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
    p521 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-521", ed25519 = "-algorithm ED25519",
  }
  for _, name in ipairs(names) do
    run(("openssl genpkey %s -out %s.pem && openssl pkey -in %s.pem -pubout -out %s.pub")
      :format(made[name], name, name, name))
    public[name], private[name] = read(name .. ".pub"), read(name .. ".pem")
    run(("openssl req -x509 -new -key %s.pem -subj '/CN=x' -days 2 -out %s.crt"):format(name, name))
  end
end)

teardown(function()
  os.execute(("rm -r '%s'"):format(folder))
end)

local function body_of(pem)
  return (pem:gsub("%-%-%-%-%-[^\n]*%-%-%-%-%-\n", ""))
end

local function der_of(pem)
  return core.decode64((body_of(pem):gsub("[%s=]", ""):gsub("%+", "-"):gsub("/", "_")))
end

--- Each byte, in UTF-16.
local function utf16(text, order)
  return (text:gsub(".", order == "be" and "\0%0" or "%0\0"))
end

describe("a public key that is no whole PEM text", function()
  it("is not taken for a secret: base64 without its lines", function()
    for _, name in ipairs(names) do
      local body = body_of(public[name])
      for _, form in ipairs { body, (body:gsub("\n", "")), (body:gsub("\n", " ")), "  \n" .. body,
        (body:gsub("=", "")), (body:gsub("\n", "\r\n")),
        (body:gsub("%+", "-"):gsub("/", "_"):gsub("[\n=]", "")), '"' .. body .. '"',
          "\xef\xbb\xbf" .. body, "key: " .. body:gsub("\n", "") } do
        check_refused(form, "a public key without the lines of a PEM text", name)
      end
      check_refused(body_of(private[name]), "a private key without", name)
      check_refused(body_of(read(name .. ".crt")), "a certificate without", name)
    end
    assert.matches("BEGIN PUBLIC KEY", thrown(jwt.verify, "x", { key = body_of(public.rsa) }))
    run "openssl rsa -in rsa.pem -RSAPublicKey_out -out rsa1.pub"
    check_refused(body_of(read "rsa1.pub"), "PKCS #1")
    for _, length in ipairs { 30, 64, 100, 200 } do
      check_refused(body_of(read "rsa1.pub"):sub(1, length), "PKCS #1")
      check_refused(body_of(public.rsa):sub(1, length), "a public key without")
      check_refused(body_of(read "rsa.crt"):sub(1, length), "a certificate without")
      check_refused(body_of(private.rsa):sub(1, length), "a private key without")
    end
  end)

  it("is not taken for a secret: PEM that was cut or changed", function()
    for _, name in ipairs(names) do
      local pem = public[name]
      for _, form in ipairs { (pem:gsub("%-%-%-%-%-BEGIN PUBLIC KEY%-%-%-%-%-\n", "")),
          (pem:gsub("%-%-%-%-%-END.*", "")), pem:sub(1, 60),
          pem:sub(1, #pem - 10), pem:sub(5), pem:sub(12), pem:sub(16),
          (pem:gsub("%-%-%-%-%-", "-----\n")), (pem:gsub("%-%-%-%-%-", "----")),
          (pem:gsub("%-%-%-%-%-", "\u{2014}")), (pem:gsub("%-%-%-%-%-", "")),
          (pem:gsub("BEGIN", "begin")), pem:lower(), pem:sub(1, 26), pem:sub(1, 20) } do
        local err = thrown(jwt.verify, "x.y.z", { key = form })
        assert(err:find("the key is", 1, true), form)
      end
      -- the first lines of what is between
      check_refused(body_of(pem):sub(1, 60), "a public key without", name)
    end
    check_refused(read("rsa.crt"):sub(1, 300), "cut off")
    check_refused(body_of(read "rsa.crt"):sub(1, 300), "a certificate without")
    check_refused(body_of(public.rsa):sub(100), "a public key without")
    check_refused("-----BEGIN RSA PUBLIC", "PEM text")
    check_refused("BEGIN PUBLIC KEY", "PEM text")
  end)

  it("is not taken for a secret: DER, hexadecimal, base64 of the PEM text, UTF-16", function()
    for _, name in ipairs(names) do
      local der = der_of(public[name])
      check_refused(der, "DER", name)
      check_refused(der:sub(1, 60), "DER", name)
      check_refused(der_of(private[name]), "DER", name)
      check_refused(der_of(read(name .. ".crt")), "DER", name)
      check_refused((der:gsub(".", function(c) return ("%02x"):format(c:byte()) end)),
        "a public key without", name)
      check_refused((der:gsub(".", function(c) return ("%02X:"):format(c:byte()) end)),
        "a public key without", name)
      local file = assert(io.open(folder .. "/text", "wb"))
      file:write(public[name])
      file:close()
      check_refused(run "openssl base64 -in text", "PEM text", name)
      check_refused(run "openssl base64 -A -in text", "PEM text", name)
      check_refused("\xff\xfe" .. utf16(public[name]), "UTF-16", name)
      check_refused("\xfe\xff" .. utf16(public[name], "be"), "UTF-16", name)
      check_refused(utf16(body_of(public[name])), "a public key without", name)
    end
  end)

  it("is not taken for a secret: ssh's forms", function()
    local function base64(bytes)
      local file = assert(io.open(folder .. "/blob", "wb"))
      file:write(bytes)
      file:close()
      return (run("openssl base64 -A -in blob"))
    end
    local random = ("\x8f\x13\xc0\x27"):rep(64)
    for name, more in pairs {
      ["ssh-rsa"] = string.pack(">s4s4", "\1\0\1", "\0" .. random),
      ["ssh-ed25519"] = string.pack(">s4", random:sub(1, 32)),
      ["ecdsa-sha2-nistp256"] = string.pack(">s4s4", "nistp256", "\4" .. random:sub(1, 64)),
      ["sk-ssh-ed25519@openssh.com"] = string.pack(">s4s4", random:sub(1, 32), "ssh:"),
    } do
      local blob = string.pack(">s4", name) .. more
      local text = base64(blob)
      local line = ("%s %s ada@example.com\n"):format(name, text)
      for _, form in ipairs { line, " " .. line, text, 'command="x",no-pty ' .. line,
        line:sub(1, 50), blob,
          ('---- BEGIN SSH2 PUBLIC KEY ----\nComment: "x"\n%s\n---- END SSH2 PUBLIC KEY ----\n')
            :format(text) } do
        check_refused(form, "ssh", name)
      end
    end
    check_refused("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE "
      .. "KEY-----\n", "ssh")
  end)

  it("is not taken for a secret: JSON Web Keys, XML, addresses, file names, tokens", function()
    for _, form in ipairs {
      '{"kty":"RSA","n":"AQAB","e":"AQAB"}', '{ "kty" : "EC" }',
      '\n {"alg":"RS256","use":"sig","kty":"RSA"}', '{"keys":[{"kty":"RSA"}]}', '{"keys": []}',
      '{\\"kty\\":\\"RSA\\"}', '{"kty', "{'kty':'RSA'}", '[{"kty":"OKP"}]', '{"e":"AQAB","n":"x"}',
      'eyJrdHkiOiJSU0EiLCJuIjoiQVFBQiIsImUiOiJBUUFCIn0=', '\xef\xbb\xbf{"kty":"EC"}',
    } do
      check_refused(form, "a JSON Web Key")
    end
    check_refused("<RSAKeyValue><Modulus>x</Modulus></RSAKeyValue>", "XML")
    check_refused("https://login.example.com/.well-known/jwks.json", "an address")
    for _, name in ipairs { "public.pem", "/etc/keys/jwt.pub", "./keys/a-b_c.key", "server.crt" } do
      check_refused(name, "the name of a file")
    end
    check_refused(jwt.sign({ sub = "ada" }, { key = ("s"):rep(32) }), "a token")
  end)

  it("verifies nothing that was forged with it", function()
    local form = body_of(public.rsa):gsub("\n", "")
    local forged =
      ("%s.%s.%s"):format("eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiJhZG1pbiJ9", ("A"):rep(43))
    assert.is_false(pcall(jwt.verify, forged, { key = form }))
  end)
end)

describe("a PEM text", function()
  it("may have come through an editor or an environment variable", function()
    for _, name in ipairs { "rsa", "p256", "p384", "p521" } do
      local token = jwt.sign({ n = 1 }, { key = private[name] })
      local pem = public[name]
      for what, form in pairs {
        ["a mark in front"] = "\xef\xbb\xbf" .. pem, ["blanks in front"] = "   \t" .. pem,
        ["CRLF"] = pem:gsub("\n", "\r\n"),
        ["blanks before each line"] = pem:gsub("[^\n]+", "    %0"),
        ["no line break at the end"] = pem:gsub("\n$", ""), ["no line breaks"] = pem:gsub("\n", ""),
        ["blanks for line breaks"] = pem:gsub("\n", " "), ["line breaks written out"] =
          pem:gsub("\n", "\\n"), ["text around"] = "# ours\n" .. pem .. "more",
        ["quotes"] = '"' .. pem .. '"', ["CR alone"] = pem:gsub("\n", "\r"),
        ["empty lines"] = pem:gsub("\n", "\n\n"),
      } do
        local claims, err = jwt.verify(token, { key = form })
        assert(claims, ("%s, %s: %s"):format(name, what, tostring(err)))
      end
      local written_out = "\xef\xbb\xbf " .. private[name]:gsub("\n", "\\n")
      assert.is_table(jwt.verify(jwt.sign({}, { key = written_out }), { key = pem }))
    end
  end)
end)

describe("a secret", function()
  it("of random bytes, or an encoding of them, is taken for one", function()
    local seed = 23
    local function byte()
      seed = (seed * 1664525 + 1013904223) % 2 ^ 32
      return math.floor(seed / 2 ^ 16) % 256
    end
    local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for _ = 1, 2000 do
      local raw, hex, letters = {}, {}, {}
      for i = 1, 44 do
        local value = byte()
        raw[i], hex[i] = string.char(value), ("%02x"):format(value)
        letters[i] = alphabet:sub(value % 64 + 1, value % 64 + 1)
      end
      jwt_secret.refuse_known(table.concat(raw))
      jwt_secret.refuse_known(table.concat(hex))
      jwt_secret.refuse_known(table.concat(letters))
      -- and one that begins like DER
      jwt_secret.refuse_known("0" .. table.concat(raw))
    end
    for _, secret in ipairs { "correct horse battery staple and so on",
      "it is the end. BEGIN again?", "a-b-c.key-of-mine!",
        "{not json at all, but braces in front}", "0123456789abcdef0123456789abcdef",
        "MIIsecretsecretsecretsecretsecret!",
        "my public key is not here, nor a certificate",
        "https is spoken here, my friend, always" } do
      jwt_secret.refuse_known(secret)
      assert.is_table(jwt.verify(jwt.sign({}, { key = secret }), { key = secret }))
    end
  end)

  it("that is shorter than the hash gets a warning, and is refused in production", function()
    local getenv, lines = os.getenv, {}
    local env
    os.getenv = function(name) -- luacheck: ignore
      if name == "ENV" then return env end
      return getenv(name)
    end
    package.loaded["tidewire.core"] = {
      log = function(level, event, _, _, why) lines[#lines + 1] = { level, event, why } end,
    }
    local ok, err = pcall(function()
      for algorithm, least in pairs { HS256 = 32, HS384 = 48, HS512 = 64 } do
        local short, long = ("x"):rep(least - 1), ("y"):rep(least)
        local before = #lines
        for _ = 1, 3 do
          jwt.verify(jwt.sign({}, { key = short, algorithm = algorithm }),
            { key = short, algorithms = algorithm })
          jwt.verify(jwt.sign({}, { key = long, algorithm = algorithm }),
            { key = long, algorithms = algorithm })
        end
        assert(#lines > before and #lines <= before + 2, "once for signing and once for verifying")
        assert.same({ 2, "weak_secret" }, { lines[#lines][1], lines[#lines][2] })
        assert.matches(("%d bytes, and %s takes %d or more"):format(least - 1, algorithm, least),
          lines[#lines][3])
        env = "production"
        local key = ("z"):rep(least - 1)
        for _ = 1, 2 do
          assert.matches("openssl rand", thrown(jwt.sign, {}, { key = key, algorithm = algorithm }))
          assert.matches("RFC 7518",
            thrown(jwt.verify, "x", { key = key, algorithms = { algorithm } }))
        end
        assert.is_string(jwt.sign({}, { key = long .. "!", algorithm = algorithm }))
        env = nil
      end
    end)
    os.getenv = getenv -- luacheck: ignore
    package.loaded["tidewire.core"] = nil
    assert(ok, err)
  end)
end)

describe("times near the ends of numbers", function()
  local SECRET = ("s"):rep(32)

  local function judge(claims, leeway)
    return jwt.verify(jwt.sign(claims, { key = SECRET }), { key = SECRET, leeway = leeway })
  end

  it("are compared, and never wrap around", function()
    local most, least = math.maxinteger, math.mininteger
    for _, leeway in ipairs { 0, 1, 60, 0.5, 1e10, 2 ^ 53, most, 1e300 } do
      assert.is_table(judge({ exp = most }, leeway), leeway)
      assert.is_table(judge({ exp = most - 1, nbf = least, iat = least }, leeway), leeway)
      assert.is_table(judge({ exp = 1e300, nbf = -1e300, iat = 1e300 }, leeway), leeway)
      assert.is_table(judge({ nbf = least }, leeway), leeway)
      assert.is_table(judge({ iat = most }, leeway), leeway)
    end
    for _, leeway in ipairs { 0, 1, 60, 0.5, 1e10 } do
      for _, exp in ipairs { least, least + 1, -1e300, -1, 0, -2 ^ 53 } do
        local claims, err = judge({ exp = math.tointeger(exp) or exp },
          leeway == 1e10 and 60 or leeway)
        assert.same({ nil, "token expired" }, { claims, err })
      end
      for _, nbf in ipairs { most, most - 1, 1e300, 2 ^ 53 } do
        local claims, err = judge({ nbf = math.tointeger(nbf) or nbf }, leeway)
        assert.same({ nil, "token not valid yet" }, { claims, err })
      end
    end
  end)

  it("cannot be made by expires_in", function()
    for _, seconds in ipairs {
      math.maxinteger, math.mininteger, 1e300, -1e300, 0 / 0, math.huge,
    } do
      assert.matches("expires_in", thrown(jwt.sign, {}, { key = SECRET, expires_in = seconds }))
    end
  end)
end)
