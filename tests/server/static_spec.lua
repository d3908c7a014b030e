-- static_spec.lua -- files of a folder over plain HTTP: types, index pages, HEAD, conditions, and
-- that no file outside the folder is served.

local server = require "support.server"
local stream = require "support.stream"

local FILES = {
  ["public/index.html"] = "<!doctype html><title>front</title>",
  ["public/app.js"] = "console.log('hi')",
  ["public/style.css"] = "body { margin: 0 }",
  ["public/data.json"] = "{}",
  ["public/logo.svg"] = "<svg/>",
  ["public/a file.txt"] = "with a space",
  ["public/empty.txt"] = "",
  ["public/deep/index.html"] = "deep front",
  ["public/deep/er/page.html"] = "deeper",
  ["public/no-index/file.txt"] = "x",
  ["public/.hidden"] = "a secret",
  ["public/.well-known/security.txt"] = "Contact: mailto:a@example.com",
  ["public/.well-known/acme-challenge/t0ken_-x"] = "t0ken.thumb",
  ["public/.well-known/.git"] = "a secret",
  ["public/song.flac"] = "x", ["public/page.xhtml"] = "x", ["public/news.atom"] = "x",
  ["public/live.m3u8"] = "x", ["public/large.bin"] = ("\0\1\2\3\4\5\6\7"):rep(1 << 18),
  ["public/packed.js"] = "plain text", ["public/packed.js.br"] = "brotli",
  ["public/packed.js.gz"] = "zipped", ["public/packed/index.html"] = "front",
  ["public/packed/index.html.br"] = "front in brotli", ["public/only.js.br"] = "brotli",
  ["public/changed.js"] = "changed", ["public/changed.js.gz"] = "old",
  ["secret.txt"] = "never served",
  ["public-but-not/secret.txt"] = "never served",
}

local APP = [[
return {
  http = {
    ["/"] = { static = "public" },
    ["/assets"] = { static = "public/deep" },
    ["GET /route"] = function() return "a route wins" end,
  },
  endpoints = { ["/ws"] = { handle_message = function(conn, message) conn:send(message) end } },
}
]]

describe("static files", function()
  local app

  lazy_setup(function()
    app = server.start({ app = APP, files = FILES })
    -- written in any order, at the turn of a second perhaps
    assert(os.execute(("find '%s' -name '*.[bg][rz]' -exec touch -d '1 minute' {} +")
      :format(app.directory)))
    assert(os.execute(("ln -s ../secret.txt '%s/public/link.txt'"):format(app.directory)))
    assert(os.execute(("ln -s / '%s/public/root'"):format(app.directory)))
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  it("are served with their type and length", function()
    for path, kind in pairs({
      ["/index.html"] = "text/html", ["/app.js"] = "javascript", ["/style.css"] = "text/css",
      ["/data.json"] = "application/json", ["/logo.svg"] = "image/svg+xml",
      ["/a%20file.txt"] = "text/plain",
    }) do
      local response = app:http(path)
      assert.equal(200, response.status, path)
      local sent = response.headers["content-type"]
      assert.is_truthy(sent:find(kind, 1, true), path .. " is " .. sent)
      assert.equal(FILES["public" .. path:gsub("%%20", " ")], response.body)
    end
  end)

  it("may be large or empty", function()
    assert.is_true(app:http("/large.bin").body == FILES["public/large.bin"])
    local response = app:http("/empty.txt")
    assert.same({ 200, "", "0" },
      { response.status, response.body, response.headers["content-length"] })
  end)

  it("of a folder are its index.html, if it has one", function()
    assert.equal("<!doctype html><title>front</title>", app:http("/").body)
    assert.equal("deep front", app:http("/deep/").body)
    local response = app:http("/deep")
    if response.status ~= 200 then
      assert.is_true(({ [301] = true, [302] = true, [307] = true, [308] = true })[response.status])
      assert.is_truthy(response.headers.location:find("/deep/$"))
    end
    assert.equal(404, app:http("/no-index/").status)
  end)

  it("may stand below a path", function()
    assert.equal("deep front", app:http("/assets/").body)
    assert.equal("deeper", app:http("/assets/er/page.html").body)
  end)

  it("answer HEAD with the same headers and no body", function()
    local get, head = app:http("/app.js"), app:http({ method = "HEAD", path = "/app.js" })
    assert.equal(200, head.status)
    assert.equal(get.headers["content-length"], head.headers["content-length"])
    assert.equal(get.headers["content-type"], head.headers["content-type"])
    assert.equal("", head.body)
  end)

  it("are not sent again to a client that has them: 304", function()
    local first = app:http("/app.js")
    assert.is_truthy(first.headers["last-modified"] or first.headers.etag)
    if first.headers["last-modified"] then
      local again = app:http({
        path = "/app.js", headers = { ["If-Modified-Since"] = first.headers["last-modified"] },
      })
      assert.same({ 304, "" }, { again.status, again.body })
      again = app:http({
        path = "/app.js", headers = { ["If-Modified-Since"] = "Sun, 06 Nov 1994 08:49:37 GMT" },
      })
      assert.equal(200, again.status)
    end
    if first.headers.etag then
      local again =
        app:http({ path = "/app.js", headers = { ["If-None-Match"] = first.headers.etag } })
      assert.same({ 304, "" }, { again.status, again.body })
      again = app:http({ path = "/app.js", headers = { ["If-None-Match"] = '"another"' } })
      assert.equal(200, again.status)
    end
    local response =
      app:http({ path = "/app.js", headers = { ["If-Modified-Since"] = "nonsense" } })
    assert.equal(200, response.status)
  end)

  it("are only files of the folder, however the path is written", function()
    for _, path in ipairs({
      "/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt",
      "/deep/../../secret.txt", "/deep/%2e%2e/%2e%2e/secret.txt", "/..\\secret.txt",
      "/..%5csecret.txt", "/../public-but-not/secret.txt", "/../../../../../../../etc/passwd",
      "//etc/passwd", "/%2fetc/passwd", "/link.txt", "/root/etc/passwd", "/assets/../../secret.txt",
      "/assets/%2e%2e/%2e%2e/secret.txt", "/./../secret.txt", "/deep/..%00/secret.txt",
      "/%252e%252e/secret.txt", "/..;/secret.txt", "/app.js/../../secret.txt",
      "/%c0%ae%c0%ae/secret.txt",
    }) do
      local response =
        app:raw(("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):format(path))
      assert.is_true(response.status >= 300 and response.status < 500,
        path .. " gave " .. response.status)
      assert.is_nil(response.body:find("never served", 1, true), path)
      assert.is_nil(response.body:find("root:", 1, true), path)
    end
  end)

  it("that are hidden, missing, or no files are a 404", function()
    for _, path in ipairs({
      "/.hidden", "/missing.txt", "/app.js/", "/app.js%00.txt", "/deep/missing",
    }) do
      local response = app:http(path)
      assert.is_true(response.status == 404 or response.status == 400,
        path .. " gave " .. response.status)
      assert.is_nil(response.body:find("a secret", 1, true))
    end
  end)

  it("are only read: other methods are a 405", function()
    for _, method in ipairs({ "POST", "PUT", "DELETE" }) do
      local response = app:http({ method = method, path = "/app.js", body = "x" })
      assert.equal(405, response.status, method)
      assert.is_truthy(response.headers.allow:find("GET", 1, true))
    end
  end)

  it("of .well-known are served, as nothing else that begins with a dot", function()
    assert.equal("Contact: mailto:a@example.com", app:http("/.well-known/security.txt").body)
    assert.equal("t0ken.thumb", app:http("/.well-known/acme-challenge/t0ken_-x").body)
    for _, path in ipairs({
      "/.well-known/.git", "/deep/.well-known/x", "/.well-known/../.hidden", "/.hidden",
    }) do
      local response =
        app:raw(("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):format(path))
      assert.equal(404, response.status, path)
    end
  end)

  it("have the types that players and readers ask for", function()
    for path, kind in pairs({ ["/song.flac"] = "audio/flac",
      ["/page.xhtml"] = "application/xhtml+xml",
        ["/news.atom"] = "application/atom+xml",
        ["/live.m3u8"] = "application/vnd.apple.mpegurl" }) do
      assert.equal(kind, app:http(path).headers["content-type"])
    end
  end)

  it("are given only as the request demands: 412", function()
    local first = app:http("/app.js")
    local function status_of(headers, method)
      return app:http({ path = "/app.js", method = method, headers = headers }).status
    end
    assert.equal(200, status_of({ ["If-Match"] = first.headers.etag }))
    assert.equal(200, status_of({ ["If-Match"] = "*" }))
    assert.equal(412, status_of({ ["If-Match"] = '"another"' }))
    assert.equal(412,
      status_of({ ["If-Match"] = '"another"', ["If-None-Match"] = first.headers.etag }))
    assert.equal(412, status_of({ ["If-Match"] = '"another"', Range = "bytes=0-1" }, "HEAD"))
    assert.equal(412, status_of({ ["If-Unmodified-Since"] = "Sunday, 06-Nov-94 08:49:37 GMT" }))
    assert.equal(412, status_of({ ["If-Unmodified-Since"] = "Sun Nov  6 08:49:37 1994" }))
    assert.equal(200, status_of({ ["If-Unmodified-Since"] = first.headers["last-modified"] }))
    assert.equal(304,
      status_of({ ["If-Match"] = first.headers.etag, ["If-None-Match"] = first.headers.etag }))
  end)

  it("are sent compressed where a compressed file stands beside and the client accepts it",
    function()
      local function ask(path, accepts, more)
        local headers = { ["Accept-Encoding"] = accepts }
        for name, value in pairs(more or {}) do headers[name] = value end
        return app:http({ path = path, headers = headers })
      end
      local plain = app:http("/packed.js")
      assert.same({ "plain text", "Accept-Encoding" }, { plain.body, plain.headers.vary })
      assert.is_nil(plain.headers["content-encoding"])
      local seen = { [plain.headers.etag] = true }
      for accepts, expected in pairs({
        ["gzip, deflate, br"] = { "br", "brotli" }, gzip = { "gzip", "zipped" },
        ["br;q=0, *"] = { "gzip", "zipped" }, ["br;q=0.5, gzip;q=0.6"] = { "gzip", "zipped" },
      }) do
        local response = ask("/packed.js", accepts)
        assert.same({ 200, expected[2], expected[1], "Accept-Encoding" }, { response.status,
          response.body, response.headers["content-encoding"], response.headers.vary })
        assert.is_truthy(response.headers["content-type"]:find("javascript", 1, true))
        local etag = response.headers.etag
        assert.not_equal(plain.headers.etag, etag)
        seen[etag] = true
        -- conditions and ranges are about this variant
        local again = ask("/packed.js", accepts, { ["If-None-Match"] = etag })
        assert.same({ 304, "", etag, "Accept-Encoding" },
          { again.status, again.body, again.headers.etag, again.headers.vary })
        assert.equal(200, ask("/packed.js", "identity", { ["If-None-Match"] = etag }).status)
        local part = ask("/packed.js", accepts, { Range = "bytes=1-2", ["If-Range"] = etag })
        assert.same({ 206, expected[2]:sub(2, 3), "bytes 1-2/6", expected[1] }, { part.status,
          part.body, part.headers["content-range"], part.headers["content-encoding"] })
        assert.equal("plain text",
          ask("/packed.js", "identity", { Range = "bytes=1-2", ["If-Range"] = etag }).body)
      end
      local count = 0
      for _ in pairs(seen) do count = count + 1 end
      assert.equal(3, count)
      for _, accepts in ipairs({ "identity", "deflate", "br;q=0, gzip;q=0", "", "identity;q=0" }) do
        local response = ask("/packed.js", accepts)
        assert.same({ 200, "plain text" }, { response.status, response.body })
        assert.is_nil(response.headers["content-encoding"])
      end
      assert.equal("front in brotli", ask("/packed/", "br").body)
      assert.equal("text/html; charset=utf-8", ask("/packed/", "br").headers["content-type"])
      -- by its own name it is a file as any other
      local direct = ask("/packed.js.gz", "gzip")
      assert.equal("zipped", direct.body)
      assert.is_nil(direct.headers["content-encoding"])
      assert.is_nil(ask("/app.js", "br, gzip").headers["content-encoding"])
      assert.is_nil(ask("/app.js", "br, gzip").headers.vary)
      assert.equal(404, ask("/only.js", "br").status)
    end)

  it("that are newer than their compressed files are sent as they are", function()
    assert(os.execute(("touch -d '1 hour' '%s/public/changed.js'"):format(app.directory)))
    local response = app:http({ path = "/changed.js", headers = { ["Accept-Encoding"] = "gzip" } })
    assert.equal("changed", response.body)
    assert.is_nil(response.headers["content-encoding"])
  end)

  it("and routes are not asked for OPTIONS *", function()
    local response = app:raw("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert.same({ 200, "0" }, { response.status, response.headers["content-length"] })
    assert.is_truthy(response.headers.allow:find("GET", 1, true))
    assert.equal(400, app:raw("GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").status)
  end)

  it("leave routes and endpoints alone", function()
    assert.equal("a route wins", app:http("/route").body)
    assert.equal("hi", (app:connect("/ws"):ask("hi")))
    assert.equal(426, app:http("/ws").status)
  end)
end)
