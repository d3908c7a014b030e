-- connect_urls_spec.lua -- the URLs of tw.connect, the options that cannot be meant, and the
-- responses of servers that are no WebSocket servers. connect_spec.lua has more of the options.

local chunks = require "support.chunks"
local origin = require "support.origin"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local chunks = require "chunks"
local tw = require "tidewire"

--- What comes of tw.connect, as text.
local function try(...)
  local ok, client, problem = pcall(tw.connect, ...)
  return ok and (client and tostring(client) or problem) or "threw " .. client
end

return { handle_message = function(conn, code)
  conn:send(code == "hello" and code or chunks.run(code, { try = try, tw = tw }))
end }
]]

describe("tw.connect", function()
  local app, ada

  lazy_setup(function()
    app = server.start({
      app = APP, listen = { "127.0.0.1:0", "unix:app.sock" },
      environment = { TIDEWIRE_TLS_CERTIFICATE = "" },
    })
  end)
  lazy_teardown(function() app:stop() end)
  before_each(function() ada = app:connect("/") end)
  after_each(stream.close_all)

  local function try(url, options)
    return chunks.ask(ada, ("return try(%q, %s)"):format(url, options or "nil"))
  end

  local function assert_says(expected, ...)
    local answer = try(...)
    assert(answer:find(expected, 1, true), ("%s: %s"):format(..., answer))
  end

  it("takes schemes in any case, and Unix sockets", function()
    for _, url in ipairs({
      app:url("/"), (app:url("/"):gsub("^ws", "WS")), (app:url("/"):gsub("^ws", "http")),
      "unix:" .. app.directory .. "/app.sock", "ws+unix:" .. app.directory .. "/app.sock:/",
    }) do
      assert.equal(("client of %s (open)"):format(url), try(url))
    end
  end)

  it("does not show the query, which may have a token, as a part of a client's text", function()
    local url = app:url("/")
    assert.equal(("client of %s (open)"):format(url), try(url .. "?token=secret"))
  end)

  it("throws for what is no URL", function()
    for url, expected in pairs({
      [""] = "must begin with ws:// or wss://",
      ["localhost:8080/chat"] = "must begin with ws:// or wss://",
      ["ftp://localhost/"] = "must begin with ws:// or wss://",
      ["ws://"] = "the host is missing",
      ["ws://localhost:0/"] = "the port must be a number from 1 to 65535",
      ["ws://localhost/a b"] = "must be percent-encoded",
      ["ws://localhost/#top"] = "must be percent-encoded",
      ["ws://localhost/é"] = "must be percent-encoded",
      ["ws://bücher.example/"] = "write it as xn--… (Punycode)",
      ["ws://localhost/\r\nX: y"] = "must be percent-encoded",
    }) do
      assert_says("threw tw.connect: url ", url)
      assert_says(expected, url)
    end
    assert.equal("threw tw.connect: url must be a string, got table; call tw.connect(url, options)",
      chunks.ask(ada, "return try({ url = 'ws://localhost/' })"))
    assert.is_truthy(chunks.ask(ada, "return try('ws://localhost/\\0')"):find("^threw "))
  end)

  it("does not repeat a password", function()
    local answer = try("wss://ada:lovelace@localhost/")
    assert.is_truthy(answer:find("use the header Authorization", 1, true), answer)
    assert.is_nil(answer:find("lovelace"), answer)
  end)

  it("does not repeat the query of a URL that it refuses", function()
    for _, url in ipairs { "ws://localhost/?token=secret#top", "ws:/localhost?token=secret",
                           "ws://localhost/?token=secret\0" } do
      local answer = try(url)
      assert.matches("^threw tw.connect: url \"ws:/.*?…\"", answer)
      assert.is_nil(answer:find("secret"), answer)
    end
  end)

  it("throws for options that cannot be meant", function()
    for options, expected in pairs({
      ["{ subprotocol = 'a' }"] = 'did you mean "subprotocols"?',
      ["{ subprotocols = { 'a b' } }"] = "is no subprotocol",
      ["{ headers = { 'X-A: a' } }"] = "is no header name",
      ["{ timeout = 0 }"] = "timeout: expected a number of seconds, more than 0",
      ["{ max_message_size = 0 }"] = "max_message_size: expected a size",
      ["5"] = "options must be a table, got number",
    }) do
      assert_says("threw tw.connect: ", app:url("/"), options)
      assert_says(expected, app:url("/"), options)
    end
  end)

  it("says which file it cannot use", function()
    assert.equal("tls.ca: cannot use /nowhere: No such file or directory",
      try("wss://localhost/", "{ tls = { ca = '/nowhere' } }"))
    assert.equal("tls.certificate: cannot use /nowhere: No such file or directory",
      try("wss://localhost/", "{ tls = { certificate = '/nowhere', key = '/nowhere' } }"))
  end)

  it("returns what a server answered that does not accept", function()
    local status, headers
    local other <close> = origin.start(function(peer) peer:answer(status, headers, "no") end)
    for _, case in ipairs({
      { 200, {}, "the server answered 200" },
      { 401, {}, "the server answered 401" },
      { 503, { ["Retry-After"] = "5" }, "the server answered 503" },
      { 301, { Location = "https://example.com/chat" },
        "the server answered 301 and redirects to https://example.com/chat" },
    }) do
      status, headers = case[1], case[2]
      assert.equal(case[3], try((other.url:gsub("^http", "ws")) .. "/"))
    end
    assert.equal("could not resolve host", try("ws://" .. ("a"):rep(300) .. "/"))
  end)
end)
