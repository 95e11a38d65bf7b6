#!/usr/bin/env bash
# The part of three.js that the explorer draws with, as one file beside its licence. Needs npm; what it
# makes is kept in the repository, so that nobody else does.
set -euo pipefail
VERSION=0.187.0 ESBUILD=0.28.2
target=$(realpath "$(dirname "$0")/../src/cryolatent/explore/static/vendor")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-save "three@$VERSION" "esbuild@$ESBUILD"
cat > entry.js <<'JS'
export {
  BufferAttribute, BufferGeometry, Color, DirectionalLight, HemisphereLight, Mesh,
  MeshStandardMaterial, PerspectiveCamera, Scene, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
JS
npx esbuild entry.js --bundle --minify --format=esm --target=es2022 --legal-comments=inline \
  --outfile="$target/three.min.js"
cp node_modules/three/LICENSE "$target/three.LICENSE"
