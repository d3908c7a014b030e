-- js_client_spec.lua -- the files of the JavaScript client: the small forms are made from the
-- source, and its types and its page name the same options, events and methods.

local make_client = dofile("scripts/make_client.lua")

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local source = read("clients/js/tidewire.mjs")
local types = read("clients/js/tidewire.d.ts")
local page = read("docs/clients.md")

-- The names that a pattern captures, as keys.
local function names(text, pattern)
  local found = {}
  for name in text:gmatch(pattern) do found[name] = true end
  assert.is_truthy(next(found), pattern)
  return found
end

describe("the JavaScript client", function()
  it("has small forms that are made from its source", function()
    for path, text in pairs(make_client.files()) do
      assert.equal(text, read(path), path .. ": run lua5.4 scripts/make_client.lua")
    end
  end)

  it("has types and a description for each option", function()
    local options = names(source:match("\nconst defaults = (%b{})"), "([%w]+): ")
    local typed = names(types:match("interface TidewireOptions (%b{})"), "\n  (%w+)%?:")
    assert.same(options, typed)
    local described = names(page:match("\n### Options\n(.-)\n##"), "\n| `(%w+)`")
    assert.same(options, described)
  end)

  it("has types and a description for each event", function()
    local typed = names(types:match("interface TidewireEvents (%b{})"), "\n  (%w+): ")
    local emitted = names(source, '#emit%("(%w+)"')
    emitted.ask = true -- it has a result
    assert.same(emitted, typed)
    assert.same(emitted, names(page:match("\n### Events\n(.-)\n##"), "\n| `(%w+)`"))
  end)

  it("has types and a description for each method and field", function()
    local class = source:match("\nexport class Tidewire {\n(.*)\n}\n")
    local public = names(class, "\n  (%l%w*)%(")
    for name in class:gmatch("\n  get (%w+)%(") do public[name] = true end
    for name in ("\n" .. class):gmatch("\n  (%l%w*) = ") do public[name] = true end
    local declared = types:match("\nexport class Tidewire (%b{})")
    local typed = names(declared, "\n  (%l%w*)[<(]")
    for name in declared:gmatch("\n  readonly (%w+):") do typed[name] = true end
    assert.same(public, typed)
    public.constructor = nil
    for name in pairs(public) do
      assert.is_truthy(page:find("client." .. name, 1, true), name .. " is not in docs/clients.md")
    end
  end)

  it("has the version of the server", function()
    local version = read("CMakeLists.txt"):match("project%(tidewire VERSION ([%d.]+)")
    assert.equal(version, read("clients/js/package.json"):match('"version": "([^"]+)"'))
  end)
end)
