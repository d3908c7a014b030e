-- connect_tls_spec.lua -- tw.connect over TLS against OpenSSL as Python has it, and through nginx
-- and HAProxy: the server's certificate and its name, the client's certificate, SNI, versions.

local certificates = require "support.certificates"
local chunks = require "support.chunks"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

-- Runs code of the test in a hook; what it throws is the answer.
local APP = [[
local chunks = require "chunks"
local tw = require "tidewire"

--- The first message from a server, or the problem.
local function ask(url, options)
  local client, problem = tw.connect(url, options)
  if not client then return problem end
  client:send("hello")
  local message, why, code = client:receive(30)
  client:close()
  return message or why .. " " .. tostring(code)
end

return {
  handle_message = function(conn, code)
    local ok, answer = pcall(chunks.run, code, { ask = ask, tw = tw })
    conn:send(ok and answer or "= threw " .. answer)
  end,
}
]]

describe("tw.connect over TLS", function()
  local folder, app, ada, authority
  local peers = {}

  lazy_setup(function()
    folder = process.make_directory()
    authority = certificates.make_authority(folder, "authority")
    certificates.make_signed(folder, "good", authority)
    certificates.make_signed(folder, "other", authority, { names = "DNS:other.test" })
    certificates.make_signed(folder, "wild", authority, { names = "DNS:*.example.test" })
    certificates.make_signed(folder, "old", authority, { days = -2 })
    certificates.make_signed(folder, "client", authority)
    certificates.make(folder, "alone")
    app = server.start({ app = APP })
  end)
  lazy_teardown(function()
    app:stop()
    process.remove_directory(folder)
  end)

  before_each(function() ada = app:connect("/") end)
  after_each(function()
    stream.close_all()
    for _, peer in ipairs(peers) do
      peer:signal("sigkill")
      peer:wait_exit()
    end
    peers = {}
  end)

  local function file(name) return folder .. "/" .. name end

  --- Starts a server with the certificate of that name. Returns its port.
  local function start(name, ...)
    local stdout = file("stdout" .. #peers)
    process.write_file(stdout, "")
    local peer = process.start("/usr/bin/python3", {
      args = { "tests/interop/tls_server.py", file(name .. ".pem"), file(name .. ".key"), ... },
      stdout = stdout, stderr = file("stderr"),
    })
    peers[#peers + 1] = peer
    local port = loop.wait_until(function()
      return process.read_file(stdout):match("^(%d+)\n") or peer.exit_code
    end)
    assert(not peer.exit_code, process.read_file(file("stderr")))
    return port
  end

  -- What comes of tw.connect to this port; `tls` is the option's text.
  local function ask(host, port, tls)
    tls = tls:gsub("FOLDER", folder)
    return chunks.ask(ada,
      ("return ask('wss://%s:%s/', { tls = { %s } })"):format(host, port, tls))
  end

  it("accepts a certificate of an authority for the name, and sends the name", function()
    local port = start("good")
    assert.equal("localhost - TLSv1.3", ask("localhost", port, "ca = 'FOLDER/authority.pem'"))
    assert.equal("- - TLSv1.3", ask("127.0.0.1", port, "ca = 'FOLDER/authority.pem'"))
  end)

  it("takes another name for SNI and the check", function()
    local port = start("other")
    local tls = "ca = 'FOLDER/authority.pem', server_name = 'other.test'"
    assert.equal("other.test - TLSv1.3", ask("127.0.0.1", port, tls))
    assert.is_truthy(ask("127.0.0.1", start("good"), tls):find("certificate"))
  end)

  it("matches a wildcard to one part of a name", function()
    local port = start("wild")
    local tls = "ca = 'FOLDER/authority.pem', server_name = '%s'"
    assert.equal("a.example.test - TLSv1.3",
      ask("127.0.0.1", port, tls:format("a.example.test")))
    assert.is_truthy(ask("127.0.0.1", port, tls:format("a.b.example.test")):find("certificate"))
    assert.is_truthy(ask("127.0.0.1", port, tls:format("example.test")):find("certificate"))
  end)

  it("refuses another name, an old certificate, one of its own, an unknown authority", function()
    for what, result in pairs({
      ["another name"] = ask("localhost", start("other"), "ca = 'FOLDER/authority.pem'"),
      ["another address"] = ask("127.0.0.1", start("other"), "ca = 'FOLDER/authority.pem'"),
      ["expired"] = ask("localhost", start("old"), "ca = 'FOLDER/authority.pem'"),
      ["self-signed"] = ask("localhost", start("alone"), "ca = 'FOLDER/authority.pem'"),
      ["not the system's"] = ask("localhost", start("good"), ""),
    }) do
      assert(result:find("certificate"), what .. ": " .. result)
    end
    assert.is_truthy(ask("localhost", start("old"), "ca = 'FOLDER/authority.pem'"):find("expired"))
  end)

  it("accepts all of them with verify = false", function()
    for _, name in ipairs({ "other", "old", "alone", "good" }) do
      assert.equal("localhost - TLSv1.3", ask("localhost", start(name), "verify = false"))
    end
  end)

  it("accepts a certificate of its own that is named as the authority", function()
    assert.equal("localhost - TLSv1.3", ask("localhost", start("alone"), "ca = 'FOLDER/alone.pem'"))
  end)

  it("sends its own certificate where the server asks for one", function()
    local port = start("good", authority.certificate)
    local ca = "ca = 'FOLDER/authority.pem'"
    local own = ", certificate = 'FOLDER/client.pem', key = 'FOLDER/client.key'"
    assert.equal("localhost client TLSv1.3", ask("localhost", port, ca .. own))
    assert.is_nil(ask("localhost", port, ca):find("TLSv1"))
    local stranger = ", certificate = 'FOLDER/alone.pem', key = 'FOLDER/alone.key'"
    assert.is_nil(ask("localhost", port, ca .. stranger):find("TLSv1"))
  end)

  it("speaks TLS 1.2, and nothing older", function()
    local ca = "ca = 'FOLDER/authority.pem'"
    assert.equal("localhost - TLSv1.2", ask("localhost", start("good", "", "TLSv1_2"), ca))
    local old = ask("localhost", start("good", "", "TLSv1_1"), ca)
    assert.is_nil(old:find("TLSv1.1", 1, true), old)
  end)

  it("does not take a server without TLS for one", function()
    local plain = server.start({
      app = "return {}", environment = { TIDEWIRE_TLS_CERTIFICATE = "" },
    })
    local result = ask("localhost", plain.addresses[1].port, "verify = false")
    assert.is_nil(result:find("^closed"), result)
    plain:stop()
  end)

  it("does not take a server with TLS for a plain one", function()
    local port = start("good")
    local result = chunks.ask(ada, ("return ask('ws://localhost:%s/')"):format(port))
    assert.is_nil(result:find("TLSv1", 1, true), result)
  end)
end)
