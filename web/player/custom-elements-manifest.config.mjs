// The manifest of the package (custom-elements.json): what @custom-elements-manifest/analyzer reads from the element's
// source, less what is private, in the one module that a user imports.

const INTERNAL = [
  "connectedCallback",
  "disconnectedCallback",
  "connectedMoveCallback",
  "adoptedCallback",
  "attributeChangedCallback",
  "observedAttributes",
];
const MODULE = "dist/index.js";

function isPublic({ name, privacy, kind, description }) {
  if ((privacy ?? "public") !== "public" || INTERNAL.includes(name)) return false;
  // The analyzer takes an assignment to a property of the shadow root for one to the element's.
  if (name === "adoptedStyleSheets") return false;
  if (!description) throw new Error(`the ${kind} ${name} of the element has no documentation comment`);
  return true;
}

export default {
  packagejson: false, // it would write its output path into package.json
  globs: ["src/index.ts", "src/element.ts", "src/player-attributes.ts"],
  plugins: [
    {
      name: "published",
      packageLinkPhase({ customElementsManifest: manifest }) {
        const element = manifest.modules
          .flatMap(({ declarations }) => declarations)
          .find(({ tagName }) => tagName === "live-edge-player");
        element.superclass = { name: "HTMLElement" };
        // What PlayerAttributes declares is the element's own, for a user.
        const members = element.members.filter(isPublic).map(({ inheritedFrom, ...member }) => [inheritedFrom, member]);
        members.sort(([one], [other]) => Number(Boolean(other)) - Number(Boolean(one)));
        element.members = members.map(([, member]) => member);
        const fields = element.members.filter(
          ({ kind, readonly, static: shared }) => kind === "field" && !readonly && !shared,
        );
        for (const attribute of element.attributes) {
          if (fields.some(({ name }) => name === attribute.name)) attribute.fieldName = attribute.name;
        }
        element.attributes.sort((one, other) => Number("fieldName" in other) - Number("fieldName" in one));
        const declaration = { name: element.name, module: MODULE };
        const exports = [
          { kind: "js", name: element.name, declaration },
          { kind: "custom-element-definition", name: element.tagName, declaration },
        ];
        manifest.modules = [{ kind: "javascript-module", path: MODULE, declarations: [element], exports }];
      },
    },
  ],
};
