declare module "*.css?inline" {
  const text: string;
  export default text;
}

declare module "*.css?raw" {
  const css: string;
  export default css;
}
