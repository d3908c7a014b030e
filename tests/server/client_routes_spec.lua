-- client_routes_spec.lua -- the JavaScript client over plain HTTP: /tidewire.js and /tidewire.mjs,
-- where the app says `http = { client = true }`.

local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local ENDPOINT = [[["/ws"] = { handle_message = function(conn, message) conn:send(message) end }]]

local function start(routes, files)
  return server.start({
    app = ("return { http = { %s }, endpoints = { %s } }"):format(routes, ENDPOINT), files = files,
  })
end

describe("the JavaScript client", function()
  after_each(stream.close_all)

  it("is served as script and as module, of less than 4 KB when packed", function()
    local app <close> = start("client = true")
    for _, name in ipairs({ "tidewire.js", "tidewire.mjs" }) do
      local answer = assert(app:http("/" .. name))
      assert.equal(200, answer.status)
      assert.equal("text/javascript; charset=utf-8", answer.headers["content-type"])
      assert.equal("nosniff", answer.headers["x-content-type-options"])
      assert.equal("no-cache", answer.headers["cache-control"])
      local path = app.directory .. "/" .. name
      process.write_file(path, answer.body)
      local packed = process.run("gzip", { args = { "-9", "-c", path } }).stdout
      assert.is_true(#packed > 1000 and #packed < 4000, name .. " has " .. #packed .. " bytes")
      local made = name:gsub("mjs", "min.mjs")
      assert.equal(process.read_file("clients/js/" .. made), answer.body)
      local head = assert(app:http({ path = "/" .. name, method = "HEAD" }))
      assert.equal(200, head.status)
      assert.equal(tostring(#answer.body), head.headers["content-length"])
    end
  end)

  it("is sent once to a browser that keeps it", function()
    local app <close> = start("client = true")
    local etag = app:http("/tidewire.js").headers.etag
    local answer = app:http({ path = "/tidewire.js", headers = { ["If-None-Match"] = etag } })
    assert.same({ 304, etag, "" }, { answer.status, answer.headers.etag, answer.body })
    answer = app:http({ path = "/tidewire.mjs", headers = { ["If-None-Match"] = etag } })
    assert.equal(200, answer.status)
  end)

  it("is not there unless the app wants it", function()
    for _, routes in ipairs({ "client = false", "" }) do
      local app <close> = start(routes)
      assert.equal(404, app:http("/tidewire.js").status)
    end
  end)

  it("allows only GET and HEAD", function()
    local app <close> = start("client = true")
    local answer = app:http({ path = "/tidewire.js", method = "POST", body = "x" })
    assert.same({ 405, "GET, HEAD" }, { answer.status, answer.headers.allow })
  end)

  it("gives way to a route of the app", function()
    local app <close> = start([[client = true, ["/*"] = function() return "all" end,
      ["/tidewire.js"] = function() return "own" end,
      ["POST /tidewire.mjs"] = function() return "posted" end]])
    assert.equal("own", app:http("/tidewire.js").body)
    assert.is_truthy(app:http("/tidewire.mjs").body:find("export", 1, true))
    assert.equal("posted", app:http({ path = "/tidewire.mjs", method = "POST", body = "" }).body)
    assert.equal("all", app:http("/other").body)
  end)

  it("gives way to a file of the app, as long as there is one", function()
    local app <close> = start([[client = true, ["/"] = { static = "public" },
      ["/deep"] = { static = "public" }]], { ["public/tidewire.js"] = "own file" })
    local answer = app:http("/tidewire.js")
    assert.same({ 200, "own file" }, { answer.status, answer.body })
    assert.is_truthy(app:http("/tidewire.mjs").body:find("export", 1, true))
    assert.equal("own file", app:http("/deep/tidewire.js").body)
    assert.equal(404, app:http("/deep/tidewire.mjs").status)
    assert(os.remove(app.directory .. "/public/tidewire.js"))
    assert.is_truthy(app:http("/tidewire.js").body:find("globalThis.Tidewire", 1, true))
  end)

  it("is no path, so another value is an error", function()
    for routes, message in pairs({
      ["client = 1"] = 'http "client": expected true or false, got 1',
      ["clients = true"] = 'did you mean "client"?',
    }) do
      local code, log =
        server.launch_to_end({ app = ("return { http = { %s } }"):format(routes) })
      assert.equal(2, code)
      assert.is_truthy(log:find(message, 1, true), log)
    end
  end)
end)
